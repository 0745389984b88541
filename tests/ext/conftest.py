"""Programs that these tests need, and what installs them."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest


def missing(what: str, packages: str) -> None:
    """Skip; fail under CI."""
    message = f"{what} is missing: run `apt-get install {packages}`"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


def needed(command: str, package: str) -> str:
    path = shutil.which(command)
    if path is None:
        missing(command, package)
    return str(path)


@pytest.fixture(scope="session")
def need() -> Callable[[str, str], str]:
    """`need(command, package)`: the command's path; without it skip, or fail under CI."""
    return needed


@pytest.fixture(scope="session")
def clang() -> str:
    """A clang that has libFuzzer."""
    path = needed("clang", "clang libclang-rt-dev")
    asked = [path, "-print-resource-dir"]
    directory = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    if not list(Path(directory).glob("lib/*/libclang_rt.fuzzer*")):
        missing("libFuzzer", "libclang-rt-dev")
    return path
