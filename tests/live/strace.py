"""What a process asks of the kernel, in the order in which it was done."""

import contextlib
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.clients.processes import need
from tests.live.processes import WAIT_S, wait_until

_WHOLE = re.compile(r"(?P<thread>\d+) +(?P<name>\w+)\((?P<arguments>.*)\) += (?P<result>-?\d+).*")
_BEGUN = re.compile(r"(?P<thread>\d+) +(?P<name>\w+)\((?P<arguments>.*) <unfinished \.\.\.>")
_ENDED = re.compile(
    r"(?P<thread>\d+) +<\.\.\. (?P<name>\w+) resumed>(?P<arguments>.*)\) += (?P<result>-?\d+).*"
)


@dataclass(frozen=True)
class Call:
    """One system call; descriptors in `arguments` are followed by `<their path>`."""

    name: str
    arguments: str
    result: int


class Trace:
    def __init__(self, log: Path) -> None:
        self._log = log

    def calls(self) -> list[Call]:
        """Return the successful calls in the order in which they ended."""
        calls = []
        begun: dict[str, str] = {}
        for line in self._log.read_text(errors="replace").splitlines():
            if match := _BEGUN.fullmatch(line):
                begun[match["thread"]] = match["arguments"]
            elif match := _WHOLE.fullmatch(line):
                calls.append(Call(match["name"], match["arguments"], int(match["result"])))
            elif match := _ENDED.fullmatch(line):
                arguments = begun.pop(match["thread"], "") + match["arguments"]
                calls.append(Call(match["name"], arguments, int(match["result"])))
        return [call for call in calls if call.result >= 0]


@contextlib.contextmanager
def tracing(pid: int, log: Path, *names: str) -> Iterator[Trace]:
    """Trace a process and its threads for the length of a `with` block."""
    need("strace", "strace")
    argv = ["strace", "-f", "-y", "-s", "40", "-e", f"trace={','.join(names)}"]
    argv += ["-o", str(log), "-p", str(pid)]
    tracer = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: _is_traced_by(pid, tracer.pid) or tracer.poll() is not None, "attached")
        assert tracer.poll() is None, tracer.stderr and tracer.stderr.read()
        yield Trace(log)
    finally:
        tracer.terminate()
        tracer.communicate(timeout=WAIT_S)


def _is_traced_by(pid: int, tracer: int) -> bool:
    """Whether every thread is: one attached later would be missing from the trace."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return all(f"TracerPid:\t{tracer}\n" in (thread / "status").read_text() for thread in threads)
