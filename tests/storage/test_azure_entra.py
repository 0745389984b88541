"""Credentials of Entra, which Azure takes over TLS alone. Whoever hands out the tokens is
not there; what they say is what Azurite looks at."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import azure.identity
import pytest
from azure.core.credentials import AccessTokenInfo
from azure.core.exceptions import ClientAuthenticationError
from azure.storage.blob import BlobServiceClient

from fastreg.storage.azure import AzureDriver
from fastreg.storage.azure_client import AzureSettings, prepare
from fastreg.storage.errors import StorageError
from tests.azurite import Azurite, find_azurite, running
from tests.tls import self_signed

OBJECT_ID = "23657296-5cd5-45b0-a809-d972a7f4dfe1"
TENANT_ID = "dd0d0df1-06c3-436c-8034-4b9a153097ce"
LIFETIME_S = 3600


def token(audience: str = "https://storage.azure.com") -> str:
    now = int(time.time())
    claims = {
        "iss": f"https://sts.windows.net/{TENANT_ID}/",
        "aud": audience,
        "iat": now - 10,
        "nbf": now - 10,
        "exp": now + LIFETIME_S,
        "oid": OBJECT_ID,
        "tid": TENANT_ID,
    }
    parts = [json.dumps(part).encode() for part in ({"alg": "none", "typ": "JWT"}, claims)]
    return ".".join([base64.urlsafe_b64encode(p).rstrip(b"=").decode() for p in parts] + ["x"])


class Entra:
    """In the place of where credentials ask for their tokens."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.audience = "https://storage.azure.com"
        self.refusal: Exception | None = None

    def __call__(self, credential: object, scope: str, **options: object) -> AccessTokenInfo:
        self.asked.append(scope)
        if self.refusal is not None:
            raise self.refusal
        return AccessTokenInfo(token(self.audience), int(time.time()) + LIFETIME_S)


@pytest.fixture
def entra(monkeypatch: pytest.MonkeyPatch) -> Entra:
    entra = Entra()
    for kind in (azure.identity.ClientSecretCredential, azure.identity.DefaultAzureCredential):
        monkeypatch.setattr(kind, "get_token_info", lambda *args, **kw: entra(*args, **kw))
    return entra


@pytest.fixture(scope="module")
def secured(azurite: Azurite, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    """An Azurite that speaks TLS, by a certificate that is trusted."""
    directory = tmp_path_factory.mktemp("secured")
    certificate = self_signed(directory)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(certificate.file))
        with running(str(find_azurite()), directory, certificate) as azurite:
            yield azurite


@pytest.fixture(params=["client_secret", "default_credentials"])
def settings(secured: Azurite, request: pytest.FixtureRequest) -> AzureSettings:
    names = {"client_id": "client", "tenant_id": TENANT_ID, "secret": "secret"}
    return secured.settings(
        account_key="",
        credentials=request.param,
        max_retries=0,
        **(names if request.param == "client_secret" else {}),
    )


def test_tokens_open_the_container(settings: AzureSettings, entra: Entra) -> None:
    assert prepare(settings)
    driver = AzureDriver(settings)
    driver.put("a/b", b"0123456789")
    assert driver.get("a/b", 10) == b"0123456789"
    assert list(driver.list("a")) == ["b"]
    driver.delete("a/b")
    assert set(entra.asked) == {"https://storage.azure.com/.default"}
    assert len(entra.asked) == 2  # the start's, and the driver's for all it does


def test_tokens_copy_within_the_account_without_a_signature(
    settings: AzureSettings, entra: Entra, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(settings)
    driver = AzureDriver(settings)
    monkeypatch.setattr(BlobServiceClient, "get_user_delegation_key", None)
    with driver.writer("u/data", append=False) as writer:
        writer.write(b"0123456789")
        writer.commit("a/b")
    assert driver.get("a/b", 10) == b"0123456789"


def test_a_key_of_the_account_signs_for_the_tokens_owner(
    settings: AzureSettings, entra: Entra
) -> None:
    prepare(settings)
    url = AzureDriver(settings).signed_url("a/b", 1200)
    query = parse_qs(urlsplit(str(url)).query)
    assert (query["skoid"], query["sktid"]) == ([OBJECT_ID], [TENANT_ID])
    assert query["spr"] == ["https"]


def test_credentials_that_entra_does_not_know_are_named(
    settings: AzureSettings, entra: Entra
) -> None:
    entra.refusal = ClientAuthenticationError("AADSTS7000215: Invalid client secret.\nTrace: 1")
    with pytest.raises(StorageError) as caught:
        prepare(settings)
    assert caught.value.reason == "credentials: AADSTS7000215: Invalid client secret."


def test_a_machine_without_an_identity_is_told_what_it_lacks(
    settings: AzureSettings, entra: Entra
) -> None:
    entra.refusal = ClientAuthenticationError(
        "DefaultAzureCredential failed to retrieve a token from the included credentials.\n"
        "Attempted credentials:\n\tEnvironmentCredential: unavailable"
    )
    with pytest.raises(StorageError) as caught:
        prepare(settings)
    assert "assign a managed identity to this machine" in caught.value.reason
    assert "\n" not in caught.value.reason


def test_a_token_that_the_account_does_not_take_is_named(
    settings: AzureSettings, entra: Entra
) -> None:
    entra.audience = "https://elsewhere.invalid"
    with pytest.raises(StorageError) as caught:
        prepare(settings)
    assert caught.value.reason.startswith("credentials: ")
