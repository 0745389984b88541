"""The application's log on stderr and the access log on stdout.

Rules: a record is one line and one write, and no text that is logged can begin another line.
Nobody waits for who reads the log: a line that does not fit is dropped, and counted.
"""

from __future__ import annotations

import json
import logging
import os
import re
import select
import stat
import sys
import time
from collections.abc import Mapping
from typing import Any, Final, Literal, Protocol

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

Level = Literal["error", "warn", "info", "debug"]
Formatter = Literal["text", "json", "logstash"]

STDOUT_FD: Final = 1
STDERR_FD: Final = 2
_LEVELS: Final[dict[str, int]] = {
    "error": logging.ERROR,
    "warn": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
}
_BARE: Final = re.compile(r"[A-Za-z0-9._/@:+-]+")
_NOT_IN_KEYS: Final = re.compile(r"[^A-Za-z0-9._/@-]")
_NOT_QUOTABLE: Final = re.compile(r"[^ !#-\[\]-~]")
_NOT_BARE: Final = re.compile(r"[^!#-\[\]-~]")
_MONTHS: Final = "JanFebMarAprMayJunJulAugSepOctNovDec"
# Four such texts and the rest stay below PIPE_BUF, up to which a write does not mix with
# those of other processes.
_MAX_QUOTED: Final = 990


class AccessRecord(Protocol):
    """What an access line tells about one request."""

    @property
    def remote_addr(self) -> str: ...
    @property
    def method(self) -> str: ...
    @property
    def target(self) -> str: ...
    @property
    def protocol(self) -> str: ...
    @property
    def status(self) -> int: ...
    @property
    def bytes_sent(self) -> int: ...
    @property
    def user_agent(self) -> str: ...
    @property
    def referer(self) -> str: ...


def configure(
    level: Level,
    formatter: Formatter,
    fields: Mapping[str, str],
    *,
    fd: int = STDERR_FD,
) -> None:
    """Send what `get_logger` and structlog's own loggers are given to `fd`.

    `fields` are added to every line; those of the call win. Calling it again replaces
    what was configured, for loggers already made too.
    """
    writer = LineWriter(fd, "log")
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            _fields_adder(dict(fields)),
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            structlog.processors.format_exc_info,
            _RENDERERS[formatter],
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=lambda *_args: writer,
        cache_logger_on_first_use=False,
    )


def get_logger(**context: object) -> FilteringBoundLogger:
    """Return a logger that adds `context` to its lines: `log.info("what", key=value)`."""
    logger: FilteringBoundLogger = structlog.get_logger(**context)
    return logger


class LineWriter:
    """Writes lines such that those of several workers do not mix, and never waits or raises.

    A line that cannot be written at once is lost. How many were is logged as an error as
    soon as lines go through again.
    """

    def __init__(self, fd: int, name: str) -> None:
        self._fd = fd
        self._name = name
        self._dropped = 0
        self._is_torn = False
        """The last line has no end."""
        mode = _mode_of(fd)
        self._is_pipe = stat.S_ISFIFO(mode)
        # What a pipe takes whole or not at all, and poll(2) promises to have room for.
        self._max_piece = sys.maxsize if stat.S_ISREG(mode) else select.PIPE_BUF

    def write(self, line: str) -> None:
        """Write `line` and its end."""
        self._write_or_drop(f"{line}\n".encode("utf-8", "backslashreplace"), 1)

    def _write_or_drop(self, data: bytes, lines: int) -> None:
        if not self._write_whole(data):
            self._dropped += lines
        elif self._dropped:
            count, self._dropped = self._dropped, 0
            get_logger().error("lines were dropped, nobody took them", of=self._name, lines=count)
            if self._dropped:  # that line too: still to be told
                self._dropped += count - 1

    def write_lines(self, lines: bytes) -> None:
        """Write whole lines, as many at once as do not mix with others'."""
        while lines:
            end = lines.rfind(b"\n", 0, self._max_piece) + 1 or len(lines)
            self._write_or_drop(lines[:end], lines.count(b"\n", 0, end))
            lines = lines[end:]

    msg = log = debug = info = warn = warning = error = critical = fatal = exception = write

    def _write_whole(self, data: bytes) -> bool:
        left = memoryview(b"\n" + data if self._is_torn else data)
        try:
            while left:
                left = left[self._write_now(left[: self._max_piece]) :]
                self._is_torn = bool(left)
        except OSError:
            return False  # a closed or full log must not fail the request that it tells about
        return True

    def _write_now(self, piece: memoryview) -> int:
        """Write without waiting, or raise an OSError.

        O_NONBLOCK would also change the descriptor for who started this process.
        """
        if self._is_pipe:
            try:
                return os.pwritev(self._fd, [piece], -1, os.RWF_NOWAIT)
            except (BlockingIOError, BrokenPipeError):
                raise
            except OSError:
                pass  # an old kernel: another worker may be faster after the look
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        if not any(events & select.POLLOUT for _, events in poll.poll(0)):
            raise BlockingIOError
        return os.write(self._fd, piece)


def _mode_of(fd: int) -> int:
    try:
        return os.fstat(fd).st_mode
    except OSError:
        return 0  # closed: every write will say so


class AccessLog:
    """Writes a line for each record to stdout. Never waits, never raises."""

    def __init__(self) -> None:
        self._writer = LineWriter(STDOUT_FD, "access log")

    def __call__(self, record: AccessRecord, /) -> None:
        self._writer.write(access_line(record, time.time()))

    def write_lines(self, lines: bytes, /) -> None:
        """Write lines that are put together already."""
        self._writer.write_lines(lines)


def access_line(record: AccessRecord, now: float) -> str:
    """Return the record in the Combined Log Format; `now` is in Unix seconds, shown as UTC.

    (https://httpd.apache.org/docs/2.4/logs.html#combined)
    """
    request = " ".join(filter(None, (record.method, record.target, record.protocol)))
    return (
        f"{_escaped(_NOT_BARE, record.remote_addr) or '-'} - - [{_clf_time(now)}] "
        f'"{_escaped(_NOT_QUOTABLE, request) or "-"}" {record.status or "-"} {record.bytes_sent} '
        f'"{_escaped(_NOT_QUOTABLE, record.referer) or "-"}" '
        f'"{_escaped(_NOT_QUOTABLE, record.user_agent) or "-"}"'
    )


def _clf_time(now: float) -> str:
    # Not strftime's %b: the month's name must not follow the locale.
    t = time.gmtime(now)
    month = _MONTHS[3 * t.tm_mon - 3 : 3 * t.tm_mon]
    clock = f"{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02}"
    return f"{t.tm_mday:02}/{month}/{t.tm_year}:{clock} +0000"


def _escaped(pattern: re.Pattern[str], text: str) -> str:
    escaped = pattern.sub(_escape, text[:_MAX_QUOTED])
    # Cut before escaping, never within an escape; one escape has at most ten characters.
    return (
        escaped if len(escaped) <= _MAX_QUOTED else pattern.sub(_escape, text[: _MAX_QUOTED // 10])
    )


def _escape(match: re.Match[str]) -> str:
    char = match[0]
    if char in '"\\':
        return "\\" + char
    return f"\\x{ord(char):02x}" if ord(char) < 256 else f"\\u{{{ord(char):x}}}"


def _fields_adder(fields: Mapping[str, str]) -> Processor:
    def add_fields(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        return {**fields, **event}

    return add_fields


def _render_text(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    """`time=… level=… msg="…" key=value`, the other keys in the order of the call."""
    head = {"time": event.pop("time"), "level": event.pop("level"), "msg": event.pop("event")}
    return " ".join(
        f"{_NOT_IN_KEYS.sub('_', key)}={_text_value(value)}"
        for key, value in [*head.items(), *event.items()]
    )


def _text_value(value: object) -> str:
    text = value if isinstance(value, str) else str(value)
    return text if _BARE.fullmatch(text) else json.dumps(text)


def _render_json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    head = {"time": event.pop("time"), "level": event.pop("level"), "msg": event.pop("event")}
    return json.dumps({**head, **{k: v for k, v in event.items() if k != "msg"}}, default=str)


def _render_logstash(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    head: dict[str, Any] = {
        "@timestamp": event.pop("time"),
        "@version": "1",
        "level": event.pop("level"),
        "message": event.pop("event"),
    }
    return json.dumps({**event, **head}, default=str)


_RENDERERS: Final[dict[str, Processor]] = {
    "text": _render_text,
    "json": _render_json,
    "logstash": _render_logstash,
}
