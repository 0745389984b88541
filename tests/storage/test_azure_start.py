"""What a start finds out about an account, in one line that names the setting."""

from __future__ import annotations

import os
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from fastreg.storage import azure_client
from fastreg.storage.azure import AzureDriver
from fastreg.storage.azure_client import AzureSettings, prepare
from fastreg.storage.errors import StorageError
from tests.azurite import ACCOUNT, KEY, Azurite
from tests.faulty import faults
from tests.faulty.cloud import Cloud
from tests.tls import self_signed


@pytest.fixture
def settings(azurite: Azurite) -> AzureSettings:
    return azurite.settings(max_retries=0)


def failure(settings: AzureSettings, **changed: object) -> str:
    with pytest.raises(StorageError) as caught:
        prepare(replace(settings, **changed))  # type: ignore[arg-type]
    assert "\n" not in caught.value.reason
    return caught.value.reason


def test_a_missing_container_is_made_once(settings: AzureSettings) -> None:
    assert prepare(settings)
    assert not prepare(settings)
    AzureDriver(settings).put("a", b"x")
    assert not prepare(settings)


def test_a_container_that_another_made_meanwhile_is_not_ours(cloud: Cloud) -> None:
    cloud.proxy.inject("list", faults.refuse(404, "ContainerNotFound"))
    assert not prepare(cloud.settings)


def test_an_account_that_fails_in_passing_is_asked_again(cloud: Cloud) -> None:
    cloud.proxy.inject("list", faults.refuse(503), times=2)
    assert not prepare(cloud.settings)
    assert [seen.kind for seen in cloud.proxy.seen] == ["list"] * 3


@pytest.mark.parametrize("key", ["Zm9v", "", "no base64"])
def test_a_wrong_key_is_named(settings: AzureSettings, key: str) -> None:
    assert failure(settings, account_key=key).startswith("accountname or accountkey: Azure does")


def test_a_wrong_account_is_named(settings: AzureSettings) -> None:
    elsewhere = settings.service_url.replace(ACCOUNT, "nobody")
    assert failure(settings, service_url=elsewhere) == "serviceurl: there is no such account"


@pytest.mark.parametrize("name", ["No_Good", "a", "a/b"])
def test_a_wrong_container_is_named(settings: AzureSettings, name: str) -> None:
    assert failure(settings, container=name).startswith(f"container: {name!r} is no name for one")


def test_a_host_that_does_not_resolve_is_named(settings: AzureSettings) -> None:
    unknown = "accountname or realm: the name nobody.blob.no.invalid does not resolve"
    assert failure(settings, account_name="nobody", realm="no.invalid", service_url="") == unknown


def test_an_address_where_nobody_listens_is_named(settings: AzureSettings) -> None:
    refused = "serviceurl: 127.0.0.1:1 cannot be reached: Connection refused"
    assert failure(settings, service_url="http://127.0.0.1:1/a") == refused


def test_a_start_does_not_wait_long_for_who_never_answers(
    settings: AzureSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(azure_client, "_PATIENCE_OF_A_START_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host = f"127.0.0.1:{silent.getsockname()[1]}"
        told = failure(settings, service_url=f"http://{host}/a", max_retries=1_000_000)
    assert told == f"serviceurl: {host} does not answer"


def test_what_is_wrong_in_a_connection_string_is_named_without_its_secret(
    settings: AzureSettings,
) -> None:
    signed = "BlobEndpoint=http://127.0.0.1:1/a;SharedAccessSignature=sv=2022&sig=hunter2"
    refused = "connectionstring: 127.0.0.1:1 cannot be reached: Connection refused"
    assert failure(settings, connection_string=signed) == refused
    assert failure(settings, connection_string="nonsense").startswith("Connection string is")


def test_a_connection_string_says_everything(settings: AzureSettings) -> None:
    said = f"AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint={settings.service_url}"
    assert prepare(AzureSettings("", settings.container, connection_string=said))
    assert not prepare(settings)


def test_credentials_that_would_be_sent_in_the_clear_are_refused(settings: AzureSettings) -> None:
    entra = {"tenant_id": "t", "client_id": "c", "secret": "s"}
    assert "HTTPS" in failure(settings, credentials="client_secret", **entra)


def open_sockets() -> set[str]:
    links = set()
    for fd in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the listing's own
            links.add(os.readlink(f"/proc/self/fd/{fd}"))
    return {link for link in links if link.startswith("socket:")}


def test_nothing_is_left_that_a_fork_would_share(settings: AzureSettings) -> None:
    threads, sockets = threading.active_count(), open_sockets()
    prepare(settings)
    assert threading.active_count() == threads
    assert open_sockets() == sockets


@pytest.fixture
def tls_address(tmp_path: Path) -> Iterator[str]:
    """Where somebody presents a certificate that nobody signed, and answers nothing."""
    certificate = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.file, certificate.key)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_shake_hands, args=(listener, context))
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def _shake_hands(listener: socket.socket, context: ssl.SSLContext) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            try:
                context.wrap_socket(connection, server_side=True).close()
            except OSError:
                pass  # the client did not trust it


def test_a_certificate_that_is_not_trusted_is_named_and_not_asked_for_again(
    settings: AzureSettings, tls_address: str
) -> None:
    patient = replace(settings, max_retries=50, retry_delay_s=60)
    untrusted = f"serviceurl: the certificate of {tls_address} is not trusted: self-signed"
    assert failure(patient, service_url=f"https://{tls_address}/a").startswith(untrusted)


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
def test_a_certificate_is_not_looked_at_where_it_shall_not_be(
    settings: AzureSettings, tls_address: str
) -> None:
    told = failure(settings, service_url=f"https://{tls_address}/a", verify_tls=False)
    assert "not trusted" not in told
    assert f"the connection to {tls_address} broke" in told
