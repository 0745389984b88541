"""`storage.azure`: a container of Azure Blob Storage, with the reference registry's keys."""

from __future__ import annotations

import base64
import re
from datetime import timedelta
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from fastreg.config.fields import (
    Duration,
    Flag,
    Integer,
    Secret,
    Section,
    Url,
    at_least,
    secret_of,
    within,
)
from fastreg.config.values import amiss, wrong

_ACCOUNT: Final = re.compile(r"[a-z0-9]{3,24}", re.ASCII)
_CONTAINER: Final = re.compile(r"(?=.{3,63}\Z)[a-z0-9]+(?:-[a-z0-9]+)*", re.ASCII)
_REALM: Final = re.compile(r"[a-z0-9-]+(?:\.[a-z0-9-]+)+", re.ASCII)
_SEGMENT: Final = re.compile(r"(?!\.\.?\Z)[A-Za-z0-9._-]+", re.ASCII)
_DEFAULT_RETRIES: Final = 5


def _account(value: str) -> str:
    if value and not _ACCOUNT.fullmatch(value):
        raise wrong("the name of a storage account: 3 to 24 lower-case letters and digits")
    return value


def _container(value: str) -> str:
    if value and not _CONTAINER.fullmatch(value):
        raise wrong(
            "the name of a container: 3 to 63 lower-case letters, digits and single hyphens"
        )
    return value


def _realm(value: str) -> str:
    if not _REALM.fullmatch(value):
        raise wrong("the end of the account's host name, such as core.windows.net")
    return value


def _root(value: str) -> str:
    if value.strip("/") and not all(map(_SEGMENT.fullmatch, value.strip("/").split("/"))):
        raise wrong("a path in the container, such as images/production")
    return value


def _key(value: str) -> str:
    try:
        base64.b64decode(value, validate=True)
    except ValueError:
        raise wrong("the key of the account in base64, as the portal shows it") from None
    return value


def _parts(connection_string: str) -> dict[str, str]:
    return dict(part.partition("=")[::2] for part in connection_string.split(";"))


def _connection_string(value: str) -> str:
    parts = _parts(value)
    by_key = parts.get("AccountName") and parts.get("AccountKey")
    by_signature = parts.get("BlobEndpoint") and parts.get("SharedAccessSignature")
    if value and not by_key and not by_signature:
        raise wrong("DefaultEndpointsProtocol=…;AccountName=…;AccountKey=…, as the portal shows it")
    _key(parts.get("AccountKey", ""))
    return value


def _retries(value: int) -> int:
    return value or _DEFAULT_RETRIES


class Credentials(Section):
    type: Literal["shared_key", "client_secret", "default_credentials"] = "shared_key"
    clientid: str = ""
    tenantid: str = ""
    secret: Secret = SecretStr("")


class Azure(Section):
    accountname: Annotated[str, AfterValidator(_account)] = ""
    accountkey: Annotated[Secret, secret_of(_key)] = SecretStr("")
    container: Annotated[str, AfterValidator(_container)] = ""
    rootdirectory: Annotated[str, AfterValidator(_root)] = ""
    """Stands before every key."""
    realm: Annotated[str, AfterValidator(_realm)] = "core.windows.net"
    serviceurl: Url = ""
    """Empty: from the account's name and the realm."""
    connectionstring: Annotated[Secret, secret_of(_connection_string)] = SecretStr("")
    """Where given, it says account, key and address."""
    max_retries: Annotated[Integer, within(-1, 100), AfterValidator(_retries)] = _DEFAULT_RETRIES
    """-1: none."""
    retry_delay: Annotated[Duration, at_least(timedelta())] = timedelta(milliseconds=100)
    skipverify: Flag = False
    credentials: Credentials = Field(default_factory=Credentials)

    @property
    def account(self) -> str:
        """The storage account's name; empty where only its address is known."""
        parts = _parts(self.connectionstring.get_secret_value())
        return parts.get("AccountName", "") if self.connectionstring else self.accountname

    @property
    def address(self) -> str:
        """The URL of the account's blob service."""
        parts = _parts(self.connectionstring.get_secret_value())
        realm = parts.get("EndpointSuffix", self.realm)
        given = parts.get("BlobEndpoint") if self.connectionstring else self.serviceurl
        return given or f"https://{self.account}.blob.{realm}"

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if not self.container:
            raise amiss(
                "container", "missing; name the container, which is created if there is none"
            )
        if not self.connectionstring:
            self._check_access()
        return self

    def _check_access(self) -> None:
        if not self.accountname:
            raise amiss("accountname", "missing; name the storage account")
        if self.credentials.type != "shared_key":
            self._check_credentials()
        elif not self.accountkey:
            raise amiss(
                "accountkey",
                "missing; give the account's key, or set credentials.type to "
                "default_credentials (managed or workload identity) or client_secret",
            )

    def _check_credentials(self) -> None:
        credentials = self.credentials
        if self.address.startswith("http:"):
            raise amiss("serviceurl", f"credentials of type {credentials.type} need https")
        for name in ("tenantid", "clientid", "secret"):
            if credentials.type == "client_secret" and not getattr(credentials, name):
                raise amiss(
                    f"credentials.{name}",
                    "missing; credentials of type client_secret need tenantid, clientid and secret",
                )
