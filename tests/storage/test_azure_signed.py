"""URLs that anyone can read an object by, for some time."""

import threading
import urllib.error
import urllib.request
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from azure.storage.blob import BlobServiceClient, UserDelegationKey

from fastreg.storage import azure_client
from fastreg.storage.azure import AzureDriver
from fastreg.storage.azure_client import AzureSettings
from tests.azurite import ACCOUNT, KEY, Azurite


@pytest.fixture
def settings(azurite: Azurite) -> AzureSettings:
    return azurite.new_container()


def fetch(url: str, method: str = "GET", **headers: str) -> bytes:
    request = urllib.request.Request(url, method=method, headers=headers)
    with urllib.request.urlopen(request) as answer:
        return bytes(answer.read())


def signed(driver: AzureDriver, key: str, lifetime_s: int = 1200) -> str:
    url = driver.signed_url(key, lifetime_s)
    assert url is not None
    return url


@pytest.mark.parametrize("root_directory", ["", "/some/root"])
def test_anyone_can_read_the_object(settings: AzureSettings, root_directory: str) -> None:
    driver = AzureDriver(replace(settings, root_directory=root_directory))
    driver.put("a/b_c-d.e", b"0123456789")
    url = signed(driver, "a/b_c-d.e")
    assert fetch(url) == b"0123456789"
    assert fetch(url, Range="bytes=2-4") == b"234"


def test_only_reading_is_allowed_and_only_this_object(settings: AzureSettings) -> None:
    driver = AzureDriver(settings)
    driver.put("a", b"x")
    driver.put("b", b"y")
    url = signed(driver, "a")
    with pytest.raises(urllib.error.HTTPError, match="403"):
        fetch(url, method="DELETE")
    with pytest.raises(urllib.error.HTTPError, match="403"):
        fetch(url.replace("/a?", "/b?"))
    assert driver.get("a", 1) == b"x"


def test_the_time_ends(settings: AzureSettings) -> None:
    driver = AzureDriver(settings)
    driver.put("a", b"x")
    ends = parse_qs(urlsplit(signed(driver, "a", 1200)).query)["se"][0]
    left = datetime.fromisoformat(ends) - datetime.now(UTC)
    assert timedelta(minutes=19) < left <= timedelta(minutes=20)
    with pytest.raises(urllib.error.HTTPError, match="403"):
        fetch(signed(driver, "a", -60))


def test_an_object_need_not_exist_to_have_a_url(settings: AzureSettings) -> None:
    url = signed(AzureDriver(settings), "a")
    with pytest.raises(urllib.error.HTTPError, match="404"):
        fetch(url)


def test_a_connection_string_with_a_key_signs(settings: AzureSettings) -> None:
    said = f"AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint={settings.service_url}"
    driver = AzureDriver(AzureSettings("", settings.container, connection_string=said))
    driver.put("a", b"x")
    assert fetch(signed(driver, "a")) == b"x"


def test_credentials_that_are_a_signature_sign_nothing(settings: AzureSettings) -> None:
    said = f"BlobEndpoint={settings.service_url};SharedAccessSignature=sv=2022&sig=x"
    signature = AzureSettings("", settings.container, connection_string=said, root_directory="r")
    assert AzureDriver(signature).signed_url("a", 1200) is None


class Delegation:
    """The key that Azure gives to who comes with Entra's credentials."""

    def __init__(self) -> None:
        self.asked: list[timedelta] = []
        self.ask = self._give

    def __call__(self, service: object, start: datetime, end: datetime) -> UserDelegationKey:
        return self.ask(start, end)

    def _give(self, start: datetime, end: datetime) -> UserDelegationKey:
        assert start < datetime.now(UTC)
        self.asked.append(end - datetime.now(UTC))
        key = UserDelegationKey()
        key.signed_oid, key.signed_tid = "an-object", "a-tenant"
        key.signed_start, key.signed_expiry = (f"{t:%Y-%m-%dT%H:%M:%SZ}" for t in (start, end))
        key.signed_service, key.signed_version, key.value = "b", "2022-11-02", KEY
        return key


@pytest.fixture
def delegation(monkeypatch: pytest.MonkeyPatch) -> Delegation:
    delegation = Delegation()
    monkeypatch.setattr(
        BlobServiceClient, "get_user_delegation_key", lambda *args: delegation(*args)
    )
    return delegation


@pytest.fixture
def entra() -> AzureDriver:
    return AzureDriver(
        AzureSettings(
            "account",
            "images",
            credentials="client_secret",
            tenant_id="tenant",
            client_id="client",
            secret="secret",
            root_directory="root",
        )
    )


def test_entra_credentials_sign_by_a_key_that_is_asked_for_once(
    entra: AzureDriver, delegation: Delegation
) -> None:
    urls = [urlsplit(signed(entra, key)) for key in ("a", "b", "a")]
    assert [url.path for url in urls] == [f"/images/root/{key}" for key in ("a", "b", "a")]
    assert {url.netloc for url in urls} == {"account.blob.core.windows.net"}
    query = parse_qs(urls[0].query)
    assert (query["skoid"], query["sktid"]) == (["an-object"], ["a-tenant"])
    assert (query["sp"], query["sr"], query["spr"]) == (["r"], ["b"], ["https"])
    assert len(delegation.asked) == 1
    assert timedelta(hours=47) < delegation.asked[0] <= timedelta(days=2)


def test_a_key_that_ends_soon_is_replaced(
    entra: AzureDriver, delegation: Delegation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(azure_client, "_KEY_LIFETIME", timedelta(minutes=59))
    assert signed(entra, "a")
    monkeypatch.setattr(azure_client, "_KEY_LIFETIME", timedelta(days=1))
    assert signed(entra, "a")
    assert signed(entra, "a")
    assert len(delegation.asked) == 2


def test_nobody_waits_for_the_key_that_another_asks_for(
    entra: AzureDriver, delegation: Delegation
) -> None:
    entered, gate = threading.Event(), threading.Event()
    ask = delegation.ask

    def slow(start: datetime, end: datetime) -> UserDelegationKey:
        if not entered.is_set():
            entered.set()
            gate.wait(60)
        return ask(start, end)

    delegation.ask = slow
    other = threading.Thread(target=signed, args=(entra, "a"))
    other.start()
    assert entered.wait(60)
    assert signed(entra, "b")
    assert other.is_alive()
    gate.set()
    other.join()


@pytest.mark.parametrize(
    ("realm", "authority"),
    [
        ("core.windows.net", None),
        ("core.chinacloudapi.cn", "login.chinacloudapi.cn"),
        ("core.usgovcloudapi.net", "login.microsoftonline.us"),
    ],
)
def test_another_cloud_has_another_authority(
    monkeypatch: pytest.MonkeyPatch, realm: str, authority: str | None
) -> None:
    import azure.identity

    made: list[dict[str, str | None]] = []

    class Credential(azure.identity.ClientSecretCredential):
        def __init__(self, *names: str, **options: str | None) -> None:
            made.append(options)
            super().__init__(*names, **options)

    monkeypatch.setattr(azure.identity, "ClientSecretCredential", Credential)
    settings = AzureSettings("account", "images", credentials="client_secret", realm=realm)
    with pytest.raises(ValueError, match="client_id"):
        azure_client.Connection(settings)
    assert [options["authority"] for options in made] == [authority]
