"""The connection to a storage account: which one, with which credentials, how patiently."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, cast

from azure.core import MatchConditions
from azure.core.exceptions import ClientAuthenticationError
from azure.core.paging import PageIterator
from azure.storage.blob import (
    BlobClient,
    BlobPrefix,
    BlobProperties,
    BlobSasPermissions,
    BlobServiceClient,
    UserDelegationKey,
    generate_blob_sas,
)

from fastreg.storage.azure_errors import Retries, code_of
from fastreg.storage.azure_transport import Transport, Unreachable
from fastreg.storage.base import ABSENT, check_key
from fastreg.storage.errors import Conflict, NotFound, StorageError


@dataclass(frozen=True, slots=True)
class AzureSettings:
    """What of the configuration decides where objects are, and who asks for them."""

    account_name: str
    container: str
    account_key: str = ""
    """Base64; with the credentials `shared_key`."""
    connection_string: str = ""
    """Where given, it says account, key and addresses."""
    credentials: Literal["shared_key", "client_secret", "default_credentials"] = "shared_key"
    client_id: str = ""
    tenant_id: str = ""
    secret: str = ""
    root_directory: str = ""
    """Stands before every key."""
    realm: str = "core.windows.net"
    service_url: str = ""
    """Of the account's blob service; empty: from the account's name and the realm."""
    max_retries: int = 5
    retry_delay_s: float = 0.1
    """Before the first retry; doubled for each."""
    verify_tls: bool = True


_NO_IDENTITY: Final = (
    "no identity gives a token; assign a managed identity to this machine, or set the"
    " variables of another (AZURE_CLIENT_ID, AZURE_TENANT_ID, …): "
)
_AUTHORITIES: Final = {
    "core.chinacloudapi.cn": "login.chinacloudapi.cn",
    "core.usgovcloudapi.net": "login.microsoftonline.us",
}
_TIMEOUT_S: Final = 30
_PATIENCE_S: Final = 60
"""With an account that does not answer, or answers with "later"."""
_PATIENCE_OF_A_START_S: Final = 5
"""A supervisor that waits longer is taken for dead by systemd."""
_ENTRA: Final[dict[str, Any]] = {"connection_timeout": 5, "read_timeout": 10, "retry_total": 2}
"""Of 300 s and 10."""
_NAMES_A_PAGE: Final = 1000
"""A fifth of what Azure would give: the first are told sooner, and a page is parsed in some
40 ms during which other threads wait."""
_KEY_LIFETIME: Final = timedelta(days=2)
_KEY_REST: Final = timedelta(hours=1)
_SKEW: Final = timedelta(minutes=10)
"""By which Azure's clock may be behind."""


_CODES_OF_NAMES: Final = frozenset(("InvalidResourceName", "OutOfRangeInput", "InvalidUri"))
_CODES_OF_SECRETS: Final = frozenset(
    (
        "AuthenticationFailed",
        "AuthorizationFailure",
        "AuthorizationPermissionMismatch",
        "InsufficientAccountPermissions",
        "InvalidAuthenticationInfo",
        "KeyBasedAuthenticationNotPermitted",
    )
)


class Connection(AbstractContextManager["Connection"]):
    """The container, by connections of its own: to be made in the process that uses it."""

    def __init__(self, settings: AzureSettings, patience_s: float = _PATIENCE_S) -> None:
        self._settings = settings
        self._service = _connect(settings, min(patience_s, _TIMEOUT_S))
        self._delegation: tuple[UserDelegationKey, datetime] | None = None
        self._root: str | None = None
        self.container = self._service.get_container_client(settings.container)
        self.retries = Retries(settings.max_retries, settings.retry_delay_s, patience_s)

    def __exit__(self, *exc: object) -> None:
        self._service.close()
        credential = self._service.credential
        if hasattr(credential, "close"):  # of Entra: it has connections of its own
            credential.close()

    @property
    def root(self) -> str:
        """What all names start with. Blocks until it is known, and may raise StorageError
        then. Nobody waits for another's question: it may take as long as patience lasts."""
        if self._root is None:
            self._root = self._find_root()
        return self._root

    def _find_root(self) -> str:
        root = f"{self._settings.root_directory.rstrip('/')}/".lstrip("/")
        # Where no root directory was set, version 2 of the reference registry began every
        # name with a slash.
        if root or self.has_name("docker/") or not self.has_name("/docker/"):
            return root
        return "/"

    def holds(self, prefix: str) -> bool:
        """Whether any key starts with `prefix`. Blocks."""
        return self.has_name(self.root + prefix)

    def has_name(self, prefix: str) -> bool:
        """Whether any name of the container starts with `prefix`. Blocks."""

        def ask() -> BlobProperties | None:
            return next(iter(self.container.list_blobs(prefix, results_per_page=1)), None)

        return self.retries.call(prefix, ask) is not None

    def pages(self, prefix: str) -> tuple[str, PageIterator[BlobProperties | BlobPrefix]]:
        """Return with what the names start, and the pages of what is directly below."""
        above = self.root + prefix
        listing = self.container.walk_blobs(
            above, include=["metadata"], results_per_page=_NAMES_A_PAGE
        )
        return above, cast(PageIterator[BlobProperties | BlobPrefix], listing.by_page())

    def blob(self, key: str) -> BlobClient:
        """Return what asks for the object under `key`, which passes `check_key`."""
        return self.container.get_blob_client(self.root + check_key(key))

    def signed_url(self, key: str, lifetime_s: int) -> str | None:
        """Return a URL where anyone can read the object for that long; None where the
        credentials are a signature themselves."""
        blob = self.blob(key)
        expires = datetime.now(UTC) + timedelta(seconds=lifetime_s)
        signing = self._signing()
        if signing is None:
            return None
        signature = generate_blob_sas(
            str(self._service.account_name or self._settings.account_name),
            blob.container_name,
            blob.blob_name,
            permission=BlobSasPermissions(read=True),
            expiry=expires,
            protocol="https" if blob.scheme == "https" else None,
            **signing,
        )
        return f"{blob.url}?{signature}"

    def _signing(self) -> dict[str, Any] | None:
        if self._settings.credentials == "shared_key" or self._settings.connection_string:
            key = getattr(self._service.credential, "account_key", None)
            return {"account_key": key} if key else None
        return {"user_delegation_key": self._delegation_key()}

    def _delegation_key(self) -> UserDelegationKey:
        """Return the key that signs on behalf of the credentials; asked for once in days.
        Nobody waits for another's question here either."""
        known, now = self._delegation, datetime.now(UTC)
        if known is None or known[1] < now + _KEY_REST:
            ends = now + _KEY_LIFETIME
            ask = self._service.get_user_delegation_key
            known = self._delegation = self.retries.call("", ask, now - _SKEW, ends), ends
        return known[0]


def condition(version: str | None) -> dict[str, Any]:
    """Return what makes a request of one for an object in that version: ABSENT for none,
    None for whatever is there."""
    if version is None:
        return {}
    if version == ABSENT:
        return {"match_condition": MatchConditions.IfMissing}
    return {"match_condition": MatchConditions.IfNotModified, "etag": version}


def _connect(settings: AzureSettings, timeout_s: float) -> BlobServiceClient:
    parse = BlobServiceClient.from_connection_string
    if settings.connection_string:
        url = parse(settings.connection_string).url
    else:
        url = settings.service_url or f"https://{settings.account_name}.blob.{settings.realm}"
    options: dict[str, Any] = {
        "retry_total": 0,
        "transport": Transport(url, verify_tls=settings.verify_tls, timeout_s=timeout_s),
    }
    if settings.connection_string:
        return parse(settings.connection_string, **options)
    return BlobServiceClient(url, _credential(settings), **options)


def _credential(settings: AzureSettings) -> Any:
    if settings.credentials == "shared_key":
        return {"account_name": settings.account_name, "account_key": settings.account_key}
    # Imported by who needs it: it takes a third of a second.
    from azure.identity import ClientSecretCredential, DefaultAzureCredential

    authority = _AUTHORITIES.get(settings.realm)
    if settings.credentials == "client_secret":
        return ClientSecretCredential(
            settings.tenant_id, settings.client_id, settings.secret, authority=authority, **_ENTRA
        )
    return DefaultAzureCredential(authority=authority, **_ENTRA)


def prepare(settings: AzureSettings) -> bool:
    """Make the container if there is none, and say whether it was; raise StorageError, one
    line that says what of the settings is wrong. Leaves no thread and no connection. Takes
    seconds, not minutes, where nobody answers."""
    try:
        with Connection(settings, _PATIENCE_OF_A_START_S) as connection:
            return _make(connection, settings.container)
    except ValueError as error:  # what the SDK sees without asking anyone
        raise StorageError(settings.container, str(error).partition("\n")[0]) from error
    except StorageError as error:
        raise StorageError(settings.container, _blame(settings, error)) from error


def _make(connection: Connection, name: str) -> bool:
    # A listing needs no right over the container itself, and the driver needs it anyway.
    try:
        connection.has_name("")
    except StorageError as error:
        if code_of(error.__cause__) != "ContainerNotFound":
            raise
    else:
        return False
    try:
        connection.retries.call(name, connection.container.create_container)
    except Conflict:
        return False  # somebody else was faster
    return True


def _blame(settings: AzureSettings, error: StorageError) -> str:
    """Return what is wrong by the name of the setting."""
    secret = "accountkey" if settings.credentials == "shared_key" else "credentials"
    if settings.service_url and secret == "accountkey":
        secret = "accountname or accountkey"
    where = "serviceurl" if settings.service_url else "accountname or realm"
    if settings.connection_string:
        secret = where = "connectionstring"
    reason = error.reason or "there is no such account"
    if isinstance(error.__cause__, Unreachable):
        return f"{where}: {reason}"
    if isinstance(error.__cause__, ClientAuthenticationError):
        hint = _NO_IDENTITY if reason.startswith("DefaultAzureCredential failed") else ""
        return f"{secret}: {hint}{reason}"
    code = code_of(error.__cause__)
    if code in _CODES_OF_NAMES:
        return f"container: {settings.container!r} is no name for one ({code})"
    if code in _CODES_OF_SECRETS:
        return f"{secret}: {reason}"
    return f"{where}: {reason}" if isinstance(error, NotFound) else reason
