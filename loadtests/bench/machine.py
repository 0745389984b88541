"""Where and with what something was measured."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from pathlib import Path

from loadtests.bench.processes import fields
from loadtests.bench.programs import AZURITE, SOURCES, program
from loadtests.bench.servers import NGINX, REFERENCE

UNKNOWN = "unknown"


def describe(workdir: Path, network: str) -> dict[str, str]:
    memory = dict(fields(Path("/proc/meminfo").read_text()))
    cpu = dict(fields(Path("/proc/cpuinfo").read_text()))
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": commit(),
        "CPU": cpu.get("model name", platform.machine()),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{int(memory['MemTotal'].split()[0]) >> 20} GiB",
        "kernel": platform.release(),
        "file system": file_system(workdir),
        "network": network,
        "load before": f"{os.getloadavg()[0]:.2f}",
        "Python": platform.python_version(),
    }


def describe_programs(azure_reference: str | None) -> dict[str, str]:
    """Return the versions of what takes part; end naming what is missing."""
    return {
        "nginx": last_word(program(NGINX), "-v"),
        "docker-registry": last_word(program(REFERENCE), "--version"),
        "Azurite": last_word(program(AZURITE), "--version"),
        "registry on Azure": last_word(azure_reference, "--version") if azure_reference else "none",
        "wrk": wrk_version(output(program("wrk"), "-v")),
    }


def commit() -> str:
    """Return the commit that is measured, marked where files differ from it."""
    return output("git", "-C", str(SOURCES), "describe", "--always", "--dirty") or UNKNOWN


def file_system(path: Path) -> str:
    return last_word("df", "--output=fstype", str(path))


def last_word(*argv: str) -> str:
    return [UNKNOWN, *output(*argv).split()][-1]


def wrk_version(text: str) -> str:
    """Return the second word: the rest of the line is its copyright."""
    return [*text.split(), UNKNOWN, UNKNOWN][1]


def output(*argv: str) -> str:
    """Return what a command prints, and nothing where there is no such command."""
    try:
        done = subprocess.run(
            argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
    except FileNotFoundError:
        return ""
    return done.stdout.strip()
