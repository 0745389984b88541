"""Programs that these tests need, and what installs them."""

import os
import shutil
from collections.abc import Callable

import pytest


def needed(command: str, package: str) -> str:
    path = shutil.which(command)
    if path is None:
        message = f"{command} is missing: run `apt-get install {package}`"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return path


@pytest.fixture(scope="session")
def need() -> Callable[[str, str], str]:
    """`need(command, package)`: the command's path; without it skip, or fail under CI."""
    return needed
