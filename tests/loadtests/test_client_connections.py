"""The load tests' client keeps connections, follows redirections, and waits as it is told."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from loadtests.client import calls, wire
from loadtests.client.auth import Credentials
from loadtests.client.calls import MAX_WAIT_S, MAX_WAITS
from loadtests.client.failures import Disconnected, Failure, Refused
from tests.loadtests.client_toy import Log, Piece, Reply, Seen, Toy, node
from tests.tls import self_signed

NAME = "a/b"
BLOB = Piece(b"a blob")
PING = Reply(200, b"{}")
UNAUTHORIZED = Reply(401, headers={"WWW-Authenticate": 'Basic realm="here"'})


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the client would have slept."""
    waited: list[float] = []
    monkeypatch.setattr(calls.time, "sleep", waited.append)
    return waited


def test_one_connection_serves_one_request_after_another() -> None:
    with Toy(lambda _: PING) as toy, node(toy.host) as registry:
        for _ in range(5):
            registry.ping()
    assert [seen.connection for seen in toy.seen] == [1] * 5


def test_a_get_on_a_connection_that_the_server_has_closed_is_sent_once_more() -> None:
    log = Log()
    with (
        Toy(lambda _: Reply(200, b"{}", is_last=True)) as toy,
        node(toy.host, observe=log) as registry,
    ):
        for _ in range(3):
            registry.ping()
    assert [seen.connection for seen in toy.seen] == [1, 2, 3]
    assert log.entries == [("GET ping", 2, None)] * 3


def test_an_idle_connection_is_looked_at_before_anything_is_sent_on_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wire, "IDLE_S", 0)
    closes = iter([True, False, False])
    with Toy(lambda _: Reply(201, is_last=next(closes))) as toy, node(toy.host) as registry:
        registry.push_manifest(NAME, "latest", "application/json", b"{}")
        assert toy.closed.acquire(timeout=30)
        for _ in range(2):
            registry.push_manifest(NAME, "latest", "application/json", b"{}")
    assert [seen.connection for seen in toy.seen] == [1, 2, 2]


def test_a_fresh_connection_that_is_closed_is_a_failure() -> None:
    log = Log()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host = f"127.0.0.1:{listener.getsockname()[1]}"
    with node(host, observe=log) as registry, pytest.raises(Disconnected) as raised:
        registry.ping()
    assert log.entries == [("GET ping", 0, raised.value)]


def test_a_signed_url_is_followed_without_the_password() -> None:
    def send_away(seen: Seen) -> Reply:
        if "authorization" not in seen.headers:
            return UNAUTHORIZED
        return Reply(307, b"moved", {"Location": f"http://{far.host}/signed?by=me&so=ever"})

    log, credentials = Log(), Credentials("me", "secret")
    with (
        Toy(lambda _: Reply(200, BLOB.content)) as far,
        Toy(send_away) as near,
        node(near.host, credentials=credentials, observe=log) as registry,
    ):
        assert registry.pull_blob(NAME, BLOB.digest, BLOB.size) == BLOB.size
    assert far.asked() == ["GET /signed?by=me&so=ever"]
    assert "authorization" not in far.seen[0].headers
    assert "authorization" in near.seen[-1].headers
    assert log.entries == [("GET blob", BLOB.size, None)]


def test_a_redirection_within_the_registry_keeps_the_password() -> None:
    def answer(seen: Seen) -> Reply:
        if "authorization" not in seen.headers:
            return UNAUTHORIZED
        if seen.target == "/elsewhere":
            return Reply(200, BLOB.content)
        return Reply(302, headers={"Location": "/elsewhere"})

    with Toy(answer) as toy, node(toy.host, credentials=Credentials("me", "x")) as registry:
        assert registry.pull_blob(NAME, BLOB.digest, BLOB.size) == BLOB.size


def test_redirections_in_a_circle_are_a_failure() -> None:
    reply = Reply(307, headers={"Location": "/again"})
    with (
        Toy(lambda _: reply) as toy,
        node(toy.host) as registry,
        pytest.raises(Failure, match="redirected"),
    ):
        registry.pull_blob(NAME, BLOB.digest, BLOB.size)


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_registry_is_asked_again_when_it_says(status: int, waits: list[float]) -> None:
    log = Log()
    replies = iter([Reply(status, headers={"Retry-After": "2"}), Reply(200, BLOB.content)])
    with Toy(lambda _: next(replies)) as toy, node(toy.host, observe=log) as registry:
        assert registry.pull_blob(NAME, BLOB.digest, BLOB.size) == BLOB.size
    assert waits == [2]
    assert log.entries == [("GET blob", BLOB.size, None)]


def test_a_registry_that_stays_busy_is_asked_a_few_times(waits: list[float]) -> None:
    reply = Reply(429, headers={"Retry-After": "3600"})
    with Toy(lambda _: reply) as toy, node(toy.host) as registry, pytest.raises(Refused):
        registry.ping()
    assert waits == [MAX_WAIT_S] * MAX_WAITS
    assert len(toy.seen) == MAX_WAITS + 1


def test_a_busy_registry_that_does_not_say_when_is_not_asked_again(waits: list[float]) -> None:
    with Toy(lambda _: Reply(503)) as toy, node(toy.host) as registry, pytest.raises(Refused):
        registry.ping()
    assert (waits, len(toy.seen)) == ([], 1)


def test_a_certificate_is_believed_where_that_is_wanted(tmp_path: Path) -> None:
    with Toy(lambda _: PING, self_signed(tmp_path)) as toy:
        with (
            node(f"https://{toy.host}") as registry,
            pytest.raises(Disconnected, match="CERTIFICATE_VERIFY_FAILED"),
        ):
            registry.ping()
        with node(f"https://{toy.host}", verify_tls=False) as registry:
            registry.ping()
            registry.ping()
    assert len(toy.seen) == 2
    assert toy.seen[0].connection == toy.seen[1].connection


@pytest.mark.parametrize("address", ["ftp://registry.test", "http://", "", "registry.test:port"])
def test_what_is_no_address_is_told(address: str) -> None:
    with pytest.raises(Failure, match="not an address"), node(address):
        pass


def test_lists_are_read_page_by_page() -> None:
    pages = {
        "/v2/a/b/tags/list?n=2": ("one", "two", "/v2/a/b/tags/list?n=2&last=two"),
        "/v2/a/b/tags/list?n=2&last=two": ("three", "", ""),
    }

    def answer(seen: Seen) -> Reply:
        *tags, following = pages[seen.target]
        link = {"Link": f'<{following}>; rel="next"'} if following else {}
        return Reply(
            200,
            str([tag for tag in tags if tag]).replace("'", '"').join(('{"tags": ', "}")).encode(),
            link,
        )

    log = Log()
    with Toy(answer) as toy, node(toy.host, observe=log) as registry:
        assert registry.tags(NAME, page_size=2) == ["one", "two", "three"]
    assert log.names == ["GET tags"] * 2


def test_no_tags_are_an_empty_list() -> None:
    with Toy(lambda _: Reply(200, b'{"tags": null}')) as toy, node(toy.host) as registry:
        assert registry.tags(NAME) == []
