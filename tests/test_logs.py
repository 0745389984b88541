"""The logs: what a line looks like, and that nothing logged can forge another."""

from __future__ import annotations

import errno
import json
import os
import re
import select
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from fastreg import logs

COMBINED = re.compile(
    r'(\S+) (\S+) (\S+) \[([^\]]+)\] "((?:[^"\\]|\\.)*)" (\d{3}|-) (\d+) '
    r'"((?:[^"\\]|\\.)*)" "((?:[^"\\]|\\.)*)"'
)
NOW = 1_700_000_000.5


@dataclass
class Record:
    remote_addr: str = "192.0.2.7"
    method: str = "GET"
    target: str = "/v2/a/manifests/latest?x=1"
    protocol: str = "HTTP/1.1"
    status: int = 200
    bytes_sent: int = 1024
    user_agent: str = "docker/28.0 (linux)"
    referer: str = ""


class Log:
    """A log file, and the lines in it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def lines(self) -> list[str]:
        return self._path.read_text().split("\n")[:-1]


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    file = Log(tmp_path / "log")
    yield file
    os.close(file.fd)
    structlog.reset_defaults()


def test_a_text_line_has_time_level_and_message_and_then_the_rest(log: Log) -> None:
    logs.configure("info", "text", {"service": "registry"}, fd=log.fd)
    logs.get_logger(worker=1).info("upload purged", path="a/b", size=3, why="too old")
    [line] = log.lines()
    time, rest = line.split(" ", 1)
    assert re.fullmatch(r"time=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", time)
    assert rest == (
        'level=info msg="upload purged" service=registry worker=1 path=a/b size=3 why="too old"'
    )


def test_a_json_line_is_an_object_with_the_same_keys(log: Log) -> None:
    logs.configure("info", "json", {"service": "registry"}, fd=log.fd)
    logs.get_logger().error("bad", size=3, path=Path("/a"))
    entry = json.loads(log.lines()[0])
    assert entry.pop("time").endswith("Z")
    assert entry == {
        "level": "error",
        "msg": "bad",
        "service": "registry",
        "size": 3,
        "path": "/a",
    }


def test_a_logstash_line_has_logstashs_names(log: Log) -> None:
    logs.configure("info", "logstash", {}, fd=log.fd)
    logs.get_logger().warning("odd", size=3)
    entry = json.loads(log.lines()[0])
    assert entry.pop("@timestamp").endswith("Z")
    assert entry == {"@version": "1", "level": "warning", "message": "odd", "size": 3}


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("error", ["error"]),
        ("warn", ["warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("debug", ["debug", "info", "warning", "error"]),
    ],
)
def test_what_is_below_the_level_is_not_written(log: Log, level: Any, expected: list[str]) -> None:
    logs.configure(level, "json", {}, fd=log.fd)
    logger = logs.get_logger()
    for method in ("debug", "info", "warning", "error"):
        getattr(logger, method)("event")
    assert [json.loads(line)["level"] for line in log.lines()] == expected


def test_an_exception_is_told_on_the_same_line(log: Log) -> None:
    logs.configure("info", "text", {}, fd=log.fd)
    logs.get_logger().error("failed", exc_info=ValueError("first\nsecond"))
    [line] = log.lines()
    assert r"ValueError: first\nsecond" in line


@pytest.mark.parametrize("formatter", ["text", "json", "logstash"])
def test_fields_and_keys_cannot_replace_the_lines_own(log: Log, formatter: Any) -> None:
    logs.configure("info", formatter, {"level": "debug", "event": "no", "time": "0"}, fd=log.fd)
    logs.get_logger().info("the event", level="x", time="0", msg="y")
    [line] = log.lines()
    assert line.count("the event") == 1
    assert "info" in line
    assert "debug" not in line


def test_a_logger_made_before_follows_a_new_configuration(log: Log) -> None:
    logs.configure("error", "text", {}, fd=log.fd)
    before = structlog.get_logger("fastreg.api")
    before.info("not yet")
    logs.configure("info", "json", {}, fd=log.fd)
    before.info("now")
    [line] = log.lines()
    assert json.loads(line)["msg"] == "now"


@pytest.mark.parametrize("formatter", ["text", "json", "logstash"])
@pytest.mark.parametrize(
    "nasty", ["a\nlevel=info msg=forged", "\x1b[2J", "\u2028", "\x85", "\udcff"]
)
def test_a_logged_text_stays_within_its_line(log: Log, formatter: Any, nasty: str) -> None:
    logs.configure("info", formatter, {"field": nasty}, fd=log.fd)
    logs.get_logger().info(nasty, value=nasty, **{nasty: 1})
    [line] = log.lines()
    assert line.isascii()
    assert line.isprintable()


@pytest.mark.parametrize("path", ["/dev/full", "/dev/null"])
def test_a_log_that_cannot_be_written_fails_nobody(path: str) -> None:
    fd = os.open(path, os.O_WRONLY if path == "/dev/full" else os.O_RDONLY)
    with pytest.raises(OSError, match=r"No space left|Bad file descriptor"):
        os.write(fd, b"line")
    logs.LineWriter(fd, "log").write("line")
    os.close(fd)


def test_a_log_whose_reader_left_fails_nobody() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with pytest.raises(BrokenPipeError):
        os.write(writer, b"line")
    logs.LineWriter(writer, "log").write("line")
    os.close(writer)


class Pipe:
    """A pipe that nobody reads, until somebody does."""

    def __init__(self) -> None:
        self._read_fd, self.fd = os.pipe()

    def take(self) -> str:
        """Return what is in the pipe."""
        return os.read(self._read_fd, 1 << 20).decode()

    def lines(self) -> list[str]:
        return self.take().split("\n")[:-1]

    def close(self) -> None:
        os.close(self._read_fd)
        os.close(self.fd)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()
    structlog.reset_defaults()


def without_nowait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the kernel be one whose pipes do not know RWF_NOWAIT."""

    def pwritev(*_args: object) -> int:
        raise OSError(errno.EOPNOTSUPP, "not supported")

    monkeypatch.setattr(os, "pwritev", pwritev)


@pytest.mark.parametrize("size", [10, 1000, 3000, 4095, 4096, 10_000])
@pytest.mark.parametrize("has_nowait", [True, False])
def test_nobody_waits_for_a_full_pipe_and_what_was_lost_is_told(
    pipe: Pipe, size: int, has_nowait: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_nowait:
        without_nowait(monkeypatch)
    logs.configure("error", "json", {}, fd=pipe.fd)
    logger = logs.get_logger()
    pad = "x" * max(0, size - 100)
    for number in range(2 * (1 << 16) // size):
        logger.error("line", number=number, pad=pad)
    before = pipe.lines()
    logger.error("again")
    entries = [json.loads(line) for line in pipe.lines() if line.endswith("}")]
    assert entries[0]["msg"] == "again"
    whole = sum(line.endswith("}") for line in before)
    assert whole > 0
    assert entries[1]["lines"] == 2 * (1 << 16) // size - whole
    assert len(entries) == 2


def test_the_descriptor_stays_as_others_share_it(pipe: Pipe) -> None:
    writer = logs.LineWriter(pipe.fd, "log")
    for _ in range(200):
        writer.write("x" * 1000)
    assert os.get_blocking(pipe.fd)


def test_a_long_line_that_was_cut_does_not_swallow_the_next(pipe: Pipe) -> None:
    writer = logs.LineWriter(pipe.fd, "log")
    logs.configure("error", "json", {}, fd=pipe.fd)
    writer.write("x" * (1 << 20))
    assert set(pipe.take()) == {"x"}
    writer.write("next")
    assert pipe.lines()[:2] == ["", "next"]


def test_a_long_line_goes_whole_into_a_file(log: Log) -> None:
    logs.LineWriter(log.fd, "log").write("x" * 100_000)
    assert [len(line) for line in log.lines()] == [100_000]


def test_a_lost_access_line_is_told_in_the_applications_log(
    pipe: Pipe, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs.configure("error", "json", {}, fd=log.fd)
    monkeypatch.setattr(logs, "STDOUT_FD", pipe.fd)
    access = logs.AccessLog()
    for _ in range(1000):
        access(Record())
    written = len(pipe.lines())
    assert written < 1000
    assert log.lines() == []
    access(Record())
    [entry] = [json.loads(line) for line in log.lines()]
    assert (entry["of"], entry["lines"]) == ("access log", 1000 - written)


def test_the_application_logs_to_stderr_and_the_access_log_goes_to_stdout(
    capfd: pytest.CaptureFixture[str], log: Log
) -> None:
    logs.configure("info", "text", {})
    logs.get_logger().info("application")
    logs.AccessLog()(Record())
    out, err = capfd.readouterr()
    assert COMBINED.fullmatch(out.rstrip("\n"))
    assert "msg=application" in err


def test_an_access_line_is_in_the_combined_log_format() -> None:
    assert logs.access_line(Record(), NOW) == (
        '192.0.2.7 - - [14/Nov/2023:22:13:20 +0000] "GET /v2/a/manifests/latest?x=1 HTTP/1.1" '
        '200 1024 "-" "docker/28.0 (linux)"'
    )


def test_an_access_line_shows_what_is_missing_as_a_dash() -> None:
    record = Record("", "", "", "", 0, 0, "", "")
    assert logs.access_line(record, NOW) == '- - - [14/Nov/2023:22:13:20 +0000] "-" - 0 "-" "-"'


def test_an_access_line_escapes_quotes_backslashes_and_controls() -> None:
    line = logs.access_line(Record(user_agent='a"b\\c\nd\x7fé', remote_addr="::1%a b"), NOW)
    assert line.startswith(r"::1%a\x20b - - [")
    assert line.endswith(r'"a\"b\\c\x0ad\x7f\xe9"')


anything = st.text(max_size=40) | st.text(min_size=1, max_size=3).map(lambda text: text * 3000)


@given(anything, anything, anything, anything)
def test_any_access_line_is_one_line_of_the_format_and_one_atomic_write(
    target: str, agent: str, referer: str, address: str
) -> None:
    record = Record(
        target=target, user_agent=agent, referer=referer, remote_addr=address, method="GET"
    )
    line = logs.access_line(record, NOW)
    match = COMBINED.fullmatch(line)
    assert match
    assert match[6] == "200"
    assert line.isascii()
    assert line.isprintable()
    assert len(line) < select.PIPE_BUF


@given(st.integers(0, 4_000_000_000))
def test_the_time_of_an_access_line_does_not_follow_the_locale(now: int) -> None:
    match = COMBINED.fullmatch(logs.access_line(Record(), now))
    assert match
    assert re.fullmatch(r"\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000", match[4])
