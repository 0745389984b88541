"""What is made of Azure's failures: which error, for how long another try, and which words."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from azure.core.exceptions import AzureError, HttpResponseError
from azure.core.rest import HttpRequest
from urllib3.exceptions import ProtocolError, SSLError

from fastreg.storage.azure_errors import MAX_WAIT_S, Retries, is_transient, meaning_of
from fastreg.storage.azure_transport import Unreachable
from fastreg.storage.errors import Busy, Conflict, NotFound, StorageError


class Answer:
    """What the SDK's errors take of an answer."""

    reason = "a reason"

    def __init__(self, status: int, headers: dict[str, str]) -> None:
        self.status_code = status
        self.headers = headers

    def text(self) -> str:
        return ""


def refusal(status: int, code: str = "", **headers: str) -> HttpResponseError:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpResponseError("no", response=Answer(status, {"x-ms-error-code": code} | named))


def broken(url: str = "http://account/c/blob?sig=secret") -> Unreachable:
    cause = ProtocolError("Connection aborted.")
    cause.__cause__ = ConnectionResetError(104, "Connection reset by peer")
    return Unreachable(HttpRequest("GET", url), cause)


def untrusted() -> Unreachable:
    cause = SSLError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed")
    return Unreachable(HttpRequest("GET", "https://account/"), cause)


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (refusal(404, "BlobNotFound"), NotFound, ""),
        (refusal(404), NotFound, ""),
        (refusal(404, "ContainerNotFound"), StorageError, "the container is gone"),
        (refusal(412, "ConditionNotMet"), Conflict, "changed"),
        (refusal(409, "BlobAlreadyExists"), Conflict, "changed"),
        (refusal(412, "LeaseIdMissing"), Busy, "LeaseIdMissing"),
        (refusal(409, "PendingCopyOperation"), Busy, "PendingCopyOperation"),
        (refusal(409, "InvalidBlobType"), StorageError, "InvalidBlobType"),
        (refusal(403, "AuthenticationFailed"), StorageError, "does not accept the credentials"),
        (refusal(403, "AuthorizationPermissionMismatch"), StorageError, "the role"),
        (refusal(503, "ServerBusy"), StorageError, "ServerBusy"),
        (refusal(418), StorageError, "418"),
        (broken(), StorageError, "the connection to account broke: Connection reset by peer"),
        (AzureError("first line\nsecond line"), StorageError, "first line"),
    ],
)
def test_a_failure_means(error: AzureError, kind: type[StorageError], says: str) -> None:
    meaning = meaning_of("a/b", error)
    assert type(meaning) is kind
    assert meaning.key == "a/b"
    assert says in meaning.reason
    assert "\n" not in str(meaning)
    assert "secret" not in str(meaning)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_what_may_pass_is_asked_again(status: int) -> None:
    assert is_transient(refusal(status))
    assert is_transient(broken())


@pytest.mark.parametrize("status", [304, 400, 401, 403, 404, 409, 412, 416, 501])
def test_what_stays_is_not_asked_again(status: int) -> None:
    assert not is_transient(refusal(status))
    assert not is_transient(untrusted())


PATIENCE_S = 60


class Trial:
    """Fails as told, then succeeds; by a clock that only `sleep` moves."""

    def __init__(self, *failures: AzureError, draw: float = 1.0, max_retries: int = 5) -> None:
        self.failures = list(failures)
        self.attempts = 0
        self.takes_s = 0.0
        self.waits: list[float] = []
        self.now_s = 1000.0
        self.retries = Retries(
            max_retries, 0.1, PATIENCE_S, self.sleep, lambda: draw, lambda: self.now_s
        )

    def sleep(self, wait_s: float) -> None:
        self.waits.append(wait_s)
        self.now_s += wait_s

    def __call__(self) -> str:
        self.attempts += 1
        self.now_s += self.takes_s
        if self.failures:
            raise self.failures.pop(0)
        return "done"

    def run(self) -> str:
        return self.retries.call("a", self)


def test_waits_grow_and_are_bounded() -> None:
    trial = Trial(*[refusal(503)] * 9, max_retries=9)
    assert trial.run() == "done"
    assert trial.waits == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, MAX_WAIT_S, MAX_WAIT_S, MAX_WAIT_S]


@pytest.mark.parametrize("draw", [0.0, 0.25, 0.999])
def test_a_wait_is_a_random_part_of_its_bound(draw: float) -> None:
    trial = Trial(broken(), broken(), draw=draw)
    assert trial.run() == "done"
    assert trial.waits == pytest.approx([0.1 * draw, 0.2 * draw])


@pytest.mark.parametrize(("asked", "waited"), [("2", 2.0), ("3600", MAX_WAIT_S), ("soon", 0.0)])
def test_azure_is_left_alone_for_as_long_as_it_asks_within_bounds(
    asked: str, waited: float
) -> None:
    trial = Trial(refusal(503, Retry_After=asked), draw=0.0)
    assert trial.run() == "done"
    assert trial.waits == [waited]


@pytest.mark.parametrize("max_retries", [-1, 0, 1, 4])
def test_the_number_of_attempts_is_bounded(max_retries: int) -> None:
    trial = Trial(*[refusal(500)] * 20, max_retries=max_retries)
    with pytest.raises(StorageError, match="500"):
        trial.run()
    assert trial.attempts == 1 + max(0, max_retries)
    assert len(trial.waits) == trial.attempts - 1


@pytest.mark.parametrize(("takes_s", "attempts"), [(0, 9), (10, 6), (29, 3), (61, 1)])
def test_attempts_end_when_patience_does(takes_s: float, attempts: int) -> None:
    trial = Trial(*[broken()] * 20, max_retries=8)
    trial.takes_s = takes_s
    with pytest.raises(StorageError):
        trial.run()
    assert trial.attempts == attempts
    assert trial.now_s <= 1000 + PATIENCE_S + takes_s


def test_a_refusal_is_told_at_once() -> None:
    trial = Trial(refusal(404))
    with pytest.raises(NotFound):
        trial.run()
    assert (trial.attempts, trial.waits) == (1, [])


def looked(outcomes: list[bool]) -> Callable[[StorageError], bool]:
    return lambda refusal: outcomes.pop(0)


def test_a_change_that_was_made_before_is_not_refused() -> None:
    trial = Trial(broken(), refusal(404))
    outcomes = [True]
    trial.retries.change("a", trial, looked(outcomes))
    assert (trial.attempts, outcomes) == (2, [])


def test_a_change_that_another_made_is_refused() -> None:
    trial = Trial(broken(), refusal(412))
    with pytest.raises(Conflict):
        trial.retries.change("a", trial, looked([False]))


def test_a_change_refused_at_once_was_not_made() -> None:
    trial = Trial(refusal(412))
    outcomes = [True]
    with pytest.raises(Conflict):
        trial.retries.change("a", trial, looked(outcomes))
    assert outcomes == [True]
