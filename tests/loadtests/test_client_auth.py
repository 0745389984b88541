"""The load tests' client is let in: by a password, by tokens, or not at all."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from loadtests.client.auth import Challenge, Credentials
from loadtests.client.failures import Failure, Unauthorized
from tests.clients.processes import Daemon, free_port, need, run
from tests.loadtests.client_toy import Log, Piece, Reply, Seen, Toy, node

ME = Credentials("me", "a secret: of mine")
BLOB = Piece(b"a blob")
SERVICE = "registry.test"


class Guarded:
    """A registry that wants a token, and the server that gives them: `token-1`, `token-2`, …,
    each good for one scope."""

    def __init__(self, expires_in: int | None = None) -> None:
        self._expires_in = expires_in
        self.given: dict[str, str] = {}
        self.realm = ""

    def give(self, seen: Seen) -> Reply:
        scope = parse_qs(urlsplit(seen.target).query)["scope"][0]
        token = f"token-{len(self.given) + 1}"
        self.given[token] = scope
        lasts = {} if self._expires_in is None else {"expires_in": self._expires_in}
        return Reply(200, json.dumps({"token": token, **lasts}).encode())

    def serve(self, seen: Seen) -> Reply:
        scope = "repository:a/b:pull" if seen.target != "/v2/" else ""
        token = seen.headers.get("authorization", "").removeprefix("Bearer ")
        if scope and self.given.get(token) == scope:
            return Reply(200, BLOB.content)
        challenge = f'Bearer realm="{self.realm}",service="{SERVICE}"'
        return Reply(401, b"{}", {"WWW-Authenticate": challenge})


@pytest.fixture
def guarded() -> Iterator[Callable[..., tuple[Guarded, Toy, Toy]]]:
    toys: list[Toy] = []

    def start(expires_in: int | None = None) -> tuple[Guarded, Toy, Toy]:
        guard = Guarded(expires_in)
        tokens, registry = Toy(guard.give), Toy(guard.serve)
        toys.extend(toy.__enter__() for toy in (tokens, registry))
        guard.realm = f"http://{tokens.host}/token"
        return guard, tokens, registry

    yield start
    for toy in toys:
        toy.__exit__()


Start = Callable[..., tuple[Guarded, Toy, Toy]]


def pull(registry: object) -> int:
    return registry.pull_blob("a/b", BLOB.digest, BLOB.size)  # type: ignore[attr-defined]


def test_a_token_is_asked_for_once_a_scope_and_shown_from_then_on(guarded: Start) -> None:
    guard, tokens, registry = guarded()
    log = Log()
    with node(registry.host, credentials=ME, observe=log) as client:
        client.ping()
        for _ in range(3):
            assert pull(client) == BLOB.size
    assert guard.given == {"token-1": "repository:a/b:pull"}
    assert log.names == ["GET ping", "GET token", "GET blob", "GET blob", "GET blob"]
    query = parse_qs(urlsplit(tokens.seen[0].target).query)
    assert query == {"scope": ["repository:a/b:pull"], "service": [SERVICE], "account": ["me"]}
    assert tokens.seen[0].headers["authorization"] == ME.basic
    assert ME.basic not in [seen.headers.get("authorization") for seen in registry.seen]


def test_an_anonymous_token_is_asked_for_without_an_account(guarded: Start) -> None:
    _, tokens, registry = guarded()
    with node(registry.host) as client:
        client.ping()
        assert pull(client) == BLOB.size
    assert "authorization" not in tokens.seen[0].headers
    assert "account" not in tokens.seen[0].target


def test_a_challenge_is_answered_also_where_nobody_pinged_before(guarded: Start) -> None:
    _, _, registry = guarded()
    log = Log()
    with node(registry.host, observe=log) as client:
        assert pull(client) == BLOB.size
    assert log.names == ["GET token", "GET blob"]


def test_a_token_whose_time_is_over_is_asked_for_again(
    guarded: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard, _, registry = guarded(expires_in=100)
    monkeypatch.setattr("loadtests.client.auth.SPENT", 0)
    with node(registry.host) as client:
        client.ping()
        for _ in range(2):
            assert pull(client) == BLOB.size
    assert len(guard.given) == 2
    assert [seen.target for seen in registry.seen].count("/v2/") == 1
    assert len(registry.seen) == 3


def test_a_token_that_is_refused_is_asked_for_again_once(guarded: Start) -> None:
    guard, _, registry = guarded()
    log = Log()
    with node(registry.host, observe=log) as client:
        client.ping()
        assert pull(client) == BLOB.size
        guard.given["token-1"] = "nothing any more"
        assert pull(client) == BLOB.size
    assert list(guard.given) == ["token-1", "token-2"]
    assert [error for _, _, error in log.entries] == [None] * len(log.entries)


def test_tokens_that_are_never_good_enough_are_a_failure(guarded: Start) -> None:
    guard, _, registry = guarded()
    log = Log()
    with node(registry.host, observe=log) as client, pytest.raises(Unauthorized) as raised:
        client.tags("another/repository")
    assert len(guard.given) == 1
    assert log.entries[-1] == ("GET tags", 2, raised.value)


def test_several_that_need_a_token_ask_for_it_together(guarded: Start) -> None:
    guard, _, registry = guarded()
    counts: list[int] = []
    with node(registry.host) as client:
        client.ping()
        threads = [threading.Thread(target=lambda: counts.append(pull(client))) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert counts == [BLOB.size] * 3
    assert len(guard.given) == 1


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"token": "x", "expires_in": "soon"}'])
def test_an_answer_without_a_token_is_a_failure(body: bytes) -> None:
    with Toy(lambda _: Reply(200, body)) as tokens:
        challenge = {"WWW-Authenticate": f'Bearer realm="http://{tokens.host}/"'}
        with (
            Toy(lambda _: Reply(401, headers=challenge)) as toy,
            node(toy.host) as client,
            pytest.raises(Failure, match="no token"),
        ):
            pull(client)


def test_a_challenge_of_an_unknown_scheme_is_a_failure() -> None:
    reply = Reply(401, headers={"WWW-Authenticate": "Negotiate"})
    with (
        Toy(lambda _: reply) as toy,
        node(toy.host) as client,
        pytest.raises(Failure, match="challenge"),
    ):
        client.ping()


def test_a_challenge_is_read_whatever_stands_between_its_quotes() -> None:
    header = 'Bearer realm="https://auth.test/token?a=b",service="one, two",scope="a:b:c,d"'
    challenge = Challenge.parse(header)
    assert challenge.scheme == "bearer"
    assert challenge.parameters == {
        "realm": "https://auth.test/token?a=b",
        "service": "one, two",
        "scope": "a:b:c,d",
    }


@pytest.fixture
def reference(tmp_path: Path) -> Iterator[str]:
    """The address of Debian's docker-registry, which lets `me` in."""
    need("docker-registry", "docker-registry")
    need("htpasswd", "apache2-utils")
    passwords, config = tmp_path / "htpasswd", tmp_path / "config.yml"
    run("htpasswd", "-Bbc", "-C", "4", passwords, ME.user, ME.password)
    host = f"127.0.0.1:{free_port()}"
    settings = {
        "version": "0.1",
        "storage": {"filesystem": {"rootdirectory": str(tmp_path / "data")}},
        "http": {"addr": host, "secret": "of this test"},
        "auth": {"htpasswd": {"realm": "here", "path": str(passwords)}},
    }
    config.write_text(json.dumps(settings))  # JSON is YAML
    daemon = Daemon(["docker-registry", "serve", config], tmp_path / "log")
    with node(host) as anonymous:
        daemon.wait_until(lambda: answers(anonymous.ping))
    yield host
    daemon.stop()


def answers(ask: Callable[[], None]) -> bool:
    try:
        ask()
    except Failure:
        return False
    return True


@pytest.mark.live
def test_a_password_opens_a_real_registry(reference: str) -> None:
    log = Log()
    with node(reference, credentials=ME, observe=log) as client:
        client.ping()
        client.push_blob_whole("a/b", BLOB)
        assert pull(client) == BLOB.size
    assert log.names == ["GET ping", "POST upload", "PUT upload", "GET blob"]


@pytest.mark.live
@pytest.mark.parametrize("credentials", [None, Credentials(ME.user, "guessed")])
def test_no_password_and_a_wrong_one_do_not(
    reference: str, credentials: Credentials | None
) -> None:
    log = Log()
    with (
        node(reference, credentials=credentials, observe=log) as client,
        pytest.raises(Unauthorized, match="was answered 401 UNAUTHORIZED") as raised,
    ):
        pull(client)
    assert [error for _, _, error in log.entries] == [raised.value]
