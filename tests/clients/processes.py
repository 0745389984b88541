"""Programs that client tests run: bounded commands, and daemons ended by their process id."""

import contextlib
import http.client
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

COMMAND_TIMEOUT_S = 60
START_TIMEOUT_S = 40
STOP_TIMEOUT_S = 15
# Daemons are where a user's PATH may not look.
SEARCH_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"


def need(command: str, package: str) -> None:
    """Skip where the command is missing; under CI fail, naming what installs it."""
    if shutil.which(command, path=SEARCH_PATH) is not None:
        return
    message = f"{command} is missing: run `apt-get install {package}`"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


def environment(extra: Mapping[str, str] | None) -> dict[str, str]:
    return {**os.environ, "PATH": SEARCH_PATH, **(extra or {})}


def run(*argv: str | Path, env: Mapping[str, str] | None = None) -> str:
    """Run a command to its end and return what it printed; fail the test if it failed."""
    done = try_run(*argv, env=env)
    assert done.returncode == 0, f"{done.args} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


def try_run(
    *argv: str | Path, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, whatever that end is; both its outputs are in `stdout`."""
    return subprocess.run(
        [str(arg) for arg in argv],
        env=environment(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=COMMAND_TIMEOUT_S,
        check=False,
    )


def run_together(*commands: list[str], env: Mapping[str, str] | None = None) -> list[str]:
    """Run commands at the same time; return their outputs, failing if any of them failed."""
    running = [
        subprocess.Popen(
            command,
            env=environment(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        for command in commands
    ]
    try:
        outputs = [process.communicate(timeout=COMMAND_TIMEOUT_S)[0] for process in running]
    finally:
        for process in running:
            if process.poll() is None:
                process.kill()
                process.communicate()
    for command, process, output in zip(commands, running, outputs, strict=True):
        assert process.returncode == 0, f"{command} ended with {process.returncode}:\n{output}"
    return outputs


class Daemon:
    """A child process with its output in a file, stopped by its process id."""

    def __init__(
        self, argv: list[str | Path], log: Path, env: Mapping[str, str] | None = None
    ) -> None:
        self.argv = [str(arg) for arg in argv]
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                self.argv,
                env=environment(env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_until(self, is_ready: Callable[[], bool]) -> None:
        """Wait for the daemon to serve; fail with its output if it dies or takes too long."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while self.process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if is_ready():
                    return
            time.sleep(0.05)
        code = self.stop()
        pytest.fail(f"{self.argv} did not serve ({code}):\n{self.output()[-4000:]}")

    def stop(self) -> int:
        """Ask it to end, and after a while insist; return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            return self.process.wait(STOP_TIMEOUT_S)


def free_port() -> int:
    """A port that nothing listens on, below those that outgoing connections are given."""
    for port in random.sample(range(20_000, 32_000), 100):
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port
    pytest.fail("no free port found")


def unmount_below(directory: Path) -> None:
    """Detach what a daemon left mounted, innermost first, so that the directory can go."""
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for mount in sorted(mounts, reverse=True):
        if Path(mount).is_relative_to(directory):
            run("umount", "-l", mount)
