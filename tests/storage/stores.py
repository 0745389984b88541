"""A store under test, and what opens it again: in this process, or in one of its own."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import fastreg
from fastreg.storage.base import Driver

SOURCES = str(Path(fastreg.__file__).parents[1])


@dataclass
class Store:
    driver: Driver
    reopen: Callable[[], Driver]
    """Makes another driver over the same objects."""
    program: str
    """Python source that binds `driver` to another driver over the same objects."""
    children: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self, source: str, *prefix: str) -> subprocess.Popen[str]:
        """Start a process that runs `source` with `driver` bound; pipes to its stdin and
        from its stdout."""
        child = subprocess.Popen(
            [*prefix, sys.executable, "-c", f"{self.program}\n{source}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": SOURCES},
        )
        self.children.append(child)
        return child

    def end_children(self) -> None:
        for child in self.children:
            with child:
                child.kill()


def say(child: subprocess.Popen[str], line: str) -> None:
    assert child.stdin is not None
    child.stdin.write(f"{line}\n")
    child.stdin.flush()


def hear(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()
