"""Real processes: a supervisor, its workers, and what happens when they are signalled."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.live


@dataclass
class Toy:
    process: subprocess.Popen[str]
    events: list[dict[str, Any]] = field(default_factory=list)
    lock: threading.Condition = field(default_factory=threading.Condition)

    @property
    def pid(self) -> int:
        return self.process.pid

    def listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self.lock:
                self.events.append(json.loads(line))
                self.lock.notify_all()

    def named(self, event: str) -> list[dict[str, Any]]:
        return [each for each in self.events if each["event"] == event]

    def wait_for(self, event: str, count: int = 1) -> dict[str, Any]:
        with self.lock:
            arrived = self.lock.wait_for(lambda: len(self.named(event)) >= count, timeout=20)
        assert arrived, f"no {event} among {self.events}"
        return self.named(event)[count - 1]

    def get(self, path: str = "/") -> dict[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            assert response.status == 200
            return dict(json.loads(response.read()))
        finally:
            connection.close()

    @property
    def port(self) -> int:
        return int(self.wait_for("bound")["port"])

    def workers(self, count: int) -> dict[int, int]:
        """Ask until `count` workers have answered: index to pid."""
        seen: dict[int, int] = {}

        def ask() -> bool:
            answers = [self.get("/sleep/0.02") for _ in range(2)]
            seen.update({each["index"]: each["pid"] for each in answers})
            return len(seen) == count

        # Requests at the same time, or one worker would answer them all.
        threads = [threading.Thread(target=eventually, args=(ask,)) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return seen

    def end(self, timeout_s: float = 20) -> int:
        return self.process.wait(timeout_s)


def eventually(is_true: Callable[[], object], timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def refuses_connections(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; a zombie that waits for its new parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def ask_in_vain(toy: Toy, path: str = "/long/60") -> tuple[threading.Thread, list[Exception]]:
    """Start a request that will be cut; what it fails with is in the list."""
    failures: list[Exception] = []

    def ask() -> None:
        try:
            toy.get(path)
        except (OSError, http.client.HTTPException) as error:
            failures.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    return thread, failures


StartToy = Callable[..., Toy]


@pytest.fixture
def start_toy() -> Iterator[StartToy]:
    toys: list[tuple[Toy, threading.Thread]] = []

    def start(*args: object, **environ: str) -> Toy:
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("toy.py")), *map(str, args)],
            env={**os.environ, "PYTHONPATH": str(ROOT), **environ},
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        toy = Toy(process)
        thread = threading.Thread(target=toy.listen)
        thread.start()
        toys.append((toy, thread))
        return toy

    yield start
    for toy, thread in toys:
        try:
            os.killpg(toy.pid, signal.SIGKILL)  # the session of this toy alone
        except ProcessLookupError:
            pass  # all of it has ended, as it should
        toy.process.wait(10)
        thread.join(10)
        assert toy.process.stdout is not None
        toy.process.stdout.close()


def test_both_workers_answer_and_sigterm_ends_them(start_toy: StartToy) -> None:
    toy = start_toy(2, 5)
    assert toy.wait_for("ready")["workers"] == 2
    workers = toy.workers(2)
    assert set(workers) == {0, 1}
    os.kill(toy.pid, signal.SIGTERM)
    assert toy.end() == 0
    assert toy.named("stopped")
    assert not any(is_alive(pid) for pid in workers.values())


def test_a_killed_worker_is_replaced_and_requests_go_on(start_toy: StartToy) -> None:
    toy = start_toy(2, 5)
    toy.wait_for("ready")
    before = toy.workers(2)
    os.kill(before[0], signal.SIGKILL)
    assert toy.wait_for("worker died")["exit_code"] == -signal.SIGKILL
    assert [toy.get()["index"] for _ in range(10)] == [1] * 10
    after = toy.workers(2)
    assert after[1] == before[1]
    assert after[0] != before[0]
    assert toy.named("worker died")[0]["restart_in_s"] == 1.0


def test_sigterm_lets_a_running_request_finish(start_toy: StartToy) -> None:
    toy = start_toy(2, 10)
    toy.wait_for("ready")
    answers: list[dict[str, Any]] = []
    thread = threading.Thread(target=lambda: answers.append(toy.get("/long/1.5")))
    thread.start()
    toy.wait_for("working")
    os.kill(toy.pid, signal.SIGTERM)
    eventually(lambda: refuses_connections(toy.port))
    assert answers == []
    thread.join()
    assert len(answers) == 1
    assert toy.end() == 0


@pytest.mark.parametrize("path", ["/long/60", "/disk"])
def test_a_request_that_outlasts_the_drain_is_cut(path: str, start_toy: StartToy) -> None:
    toy = start_toy(1, 0.3)
    toy.wait_for("ready")
    thread, failures = ask_in_vain(toy, path)
    toy.wait_for("working")
    os.kill(toy.pid, signal.SIGTERM)
    assert toy.end() == 0
    assert toy.named("worker killed") == []
    thread.join()
    assert len(failures) == 1


def test_a_second_signal_stops_at_once(start_toy: StartToy) -> None:
    toy = start_toy(1, 60)
    toy.wait_for("ready")
    thread, failures = ask_in_vain(toy)
    toy.wait_for("working")
    os.kill(toy.pid, signal.SIGINT)
    toy.wait_for("stopping")
    os.kill(toy.pid, signal.SIGINT)
    assert toy.end(10) == 0
    assert toy.named("worker killed")
    thread.join()
    assert len(failures) == 1


def test_reloading_under_load_fails_no_request(start_toy: StartToy, tmp_path: Path) -> None:
    behaviour = tmp_path / "behaviour"
    behaviour.write_text("ok")
    toy = start_toy(2, 5, behaviour)
    toy.wait_for("ready")
    before = toy.workers(2)
    stop = threading.Event()
    served: list[int] = []
    failures: list[Exception] = []

    def load(path: str, keep_alive: bool) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", toy.port, timeout=20)
        while not stop.is_set():
            try:
                connection.request("GET", path)
                served.append(json.loads(connection.getresponse().read())["pid"])
            except Exception as error:
                failures.append(error)
            if not keep_alive:
                connection.close()
        connection.close()

    kinds = [("/", True), ("/", False), ("/sleep/0.05", True), ("/sleep/0.05", False)]
    threads = [threading.Thread(target=load, args=kind) for kind in kinds]
    for thread in threads:
        thread.start()
    for number in (1, 2):
        behaviour.write_text(f"ok {number}")
        os.kill(toy.pid, signal.SIGHUP)
        toy.wait_for("reloaded", number)
    eventually(lambda: not any(is_alive(pid) for pid in before.values()))
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(set(served)) >= 4
    assert toy.get()["says"] == "ok 2"


@pytest.mark.parametrize("first", ["slow 1", "exit 3"])
def test_sighup_during_a_reload_is_followed_by_another(
    first: str, start_toy: StartToy, tmp_path: Path
) -> None:
    behaviour = tmp_path / "behaviour"
    behaviour.write_text("ok")
    toy = start_toy(1, 5, behaviour)
    toy.wait_for("ready")
    behaviour.write_text(first)
    os.kill(toy.pid, signal.SIGHUP)
    toy.wait_for("reloading")
    behaviour.write_text("ok again")
    os.kill(toy.pid, signal.SIGHUP)
    os.kill(toy.pid, signal.SIGHUP)
    toy.wait_for("reloading", 2)
    eventually(lambda: toy.get()["says"] == "ok again")
    assert len(toy.named("reloading")) >= 2


def test_a_reload_that_raises_keeps_the_workers(start_toy: StartToy, tmp_path: Path) -> None:
    behaviour = tmp_path / "behaviour"
    behaviour.write_text("ok")
    toy = start_toy(2, 5, behaviour)
    toy.wait_for("ready")
    before = toy.workers(2)
    behaviour.write_text("bad")
    os.kill(toy.pid, signal.SIGHUP)
    assert toy.wait_for("reload failed")["error"] == "the new configuration is wrong"
    assert toy.workers(2) == before


def test_new_workers_that_do_not_start_leave_the_old(start_toy: StartToy, tmp_path: Path) -> None:
    behaviour = tmp_path / "behaviour"
    behaviour.write_text("ok")
    toy = start_toy(2, 5, behaviour)
    toy.wait_for("ready")
    before = toy.workers(2)
    behaviour.write_text("exit 3")
    os.kill(toy.pid, signal.SIGHUP)
    assert toy.wait_for("reload failed")["error"].endswith("ended with exit code 3")
    assert toy.workers(2) == before
    assert toy.named("adopted") == []
    os.kill(before[0], signal.SIGKILL)
    toy.wait_for("worker died")
    assert toy.workers(2)[1] == before[1]
    assert toy.get()["says"] == "ok"


def test_workers_get_the_drain_of_the_configuration_they_run(
    start_toy: StartToy, tmp_path: Path
) -> None:
    behaviour = tmp_path / "behaviour"
    behaviour.write_text("ok")
    toy = start_toy(1, 0.1, behaviour)
    (first,) = toy.workers(1).values()
    behaviour.write_text("drain 20")
    os.kill(toy.pid, signal.SIGHUP)
    toy.wait_for("reloaded")
    eventually(lambda: not is_alive(first))  # until then it may still accept
    answers: list[dict[str, Any]] = []
    thread = threading.Thread(target=lambda: answers.append(toy.get("/long/3")))
    thread.start()
    toy.wait_for("working")
    os.kill(toy.pid, signal.SIGTERM)
    assert toy.end() == 0
    thread.join()
    assert toy.named("worker killed") == []
    assert len(answers) == 1


def test_a_first_start_that_fails_ends_the_supervisor_with_its_code(
    start_toy: StartToy, tmp_path: Path
) -> None:
    behaviour = tmp_path / "behaviour"
    behaviour.write_text("exit 3")
    toy = start_toy(2, 5, behaviour)
    assert toy.end() == 3
    assert toy.wait_for("start failed")["exit_code"] == 3


def test_a_worker_whose_loop_stands_still_is_replaced(start_toy: StartToy) -> None:
    toy = start_toy(1, 5, TOY_SILENCE_S="2.5")
    toy.wait_for("ready")
    before = toy.workers(1)
    thread, failures = ask_in_vain(toy, "/hang")
    assert toy.wait_for("worker killed")["pid"] == before[0]
    thread.join()
    assert len(failures) == 1
    assert toy.workers(1)[0] != before[0]


def test_a_worker_stopped_for_a_moment_is_kept(start_toy: StartToy) -> None:
    toy = start_toy(1, 5, TOY_SILENCE_S="10")
    toy.wait_for("ready")
    before = toy.workers(1)
    os.kill(before[0], signal.SIGSTOP)
    toy.wait_for("alive", len(toy.named("alive")) + 2)
    os.kill(before[0], signal.SIGCONT)
    assert toy.workers(1) == before
    assert toy.named("worker killed") == []


def test_a_slow_start_is_no_silence(start_toy: StartToy, tmp_path: Path) -> None:
    behaviour = tmp_path / "behaviour"
    behaviour.write_text("slow 2")
    toy = start_toy(1, 5, behaviour, TOY_SILENCE_S="1.9")
    toy.wait_for("ready")
    assert toy.named("worker killed") == []


def test_nobody_is_told_that_all_is_well_while_no_worker_serves(
    start_toy: StartToy, tmp_path: Path
) -> None:
    behaviour = tmp_path / "behaviour"
    behaviour.write_text("slow 2.5")
    toy = start_toy(1, 5, behaviour)
    toy.wait_for("ready")
    assert [event["event"] for event in toy.events][:3] == ["bound", "alive", "ready"]
    os.kill(toy.workers(1)[0], signal.SIGKILL)
    toy.wait_for("worker died")
    told = len(toy.named("alive"))
    time.sleep(2)
    assert len(toy.named("alive")) == told
    toy.wait_for("alive", told + 1)


def test_a_replacement_that_cannot_be_forked_is_tried_again(start_toy: StartToy) -> None:
    toy = start_toy(2, 5, TOY_FAILING_FORKS="3")
    toy.wait_for("ready")
    before = toy.workers(2)
    os.kill(before[0], signal.SIGKILL)
    assert "unavailable" in toy.wait_for("fork failed")["error"]
    assert toy.get()["pid"] == before[1]
    after = toy.workers(2)
    assert after[1] == before[1]
    assert after[0] != before[0]
    pauses = [event["restart_in_s"] for event in toy.events if "restart_in_s" in event]
    assert pauses == [1, 2]


def test_a_reload_that_cannot_fork_leaves_the_old(start_toy: StartToy) -> None:
    toy = start_toy(2, 5, TOY_FAILING_FORKS="4")
    toy.wait_for("ready")
    before = toy.workers(2)
    os.kill(toy.pid, signal.SIGHUP)
    assert "unavailable" in toy.wait_for("reload failed")["error"]
    assert toy.workers(2) == before
    os.kill(toy.pid, signal.SIGHUP)
    toy.wait_for("reloaded")


def test_a_first_start_that_cannot_fork_ends_with_what_was_started(start_toy: StartToy) -> None:
    toy = start_toy(2, 5, TOY_FAILING_FORKS="2")
    assert "unavailable" in toy.wait_for("start failed")["error"]
    assert toy.end() == 1
    assert toy.named("stopped")


def test_workers_leave_when_the_supervisor_is_killed(start_toy: StartToy) -> None:
    toy = start_toy(2, 5)
    toy.wait_for("ready")
    workers = toy.workers(2)
    os.kill(toy.pid, signal.SIGKILL)
    toy.end()
    eventually(lambda: not any(is_alive(pid) for pid in workers.values()))
    with pytest.raises(ConnectionRefusedError):
        toy.get()


def test_kept_connections_spread_over_the_workers(start_toy: StartToy, tmp_path: Path) -> None:
    (tmp_path / "behaviour").write_text("ok")
    toy = start_toy(2, 5, tmp_path / "behaviour")
    toy.wait_for("ready")
    kept, served = [], []
    for _ in range(24):
        connection = http.client.HTTPConnection("127.0.0.1", toy.port, timeout=20)
        kept.append(connection)
        connection.request("GET", "/")
        served.append(json.loads(connection.getresponse().read())["pid"])
    for connection in kept:
        connection.close()
    # Half each, but for a worker that this machine kept from running for a moment.
    assert min(served.count(pid) for pid in set(served)) >= 6
    assert len(set(served)) == 2
