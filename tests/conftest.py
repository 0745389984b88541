"""What tests of several rooms need: plain tracebacks, a real Azurite, and a container of it
before which a proxy stands."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from tests.azurite import INSTALL, Azurite, find_azurite, running
from tests.faulty.cloud import Cloud, cloud_over


@pytest.fixture(autouse=True)
def _plain_tracebacks() -> None:
    """structlog's own configuration has rich draw each traceback, which takes a second."""
    plain = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[plain])


@pytest.fixture(scope="session")
def azurite() -> Iterator[Azurite]:
    """The Azurite of this pytest process; `azurite.new_container()` for each test."""
    program = find_azurite()
    if program is None:
        message = f"Azurite is missing: {INSTALL}"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    with (
        tempfile.TemporaryDirectory(prefix="fastreg-azurite-") as directory,
        running(program, Path(directory)) as azurite,
    ):
        yield azurite


@pytest.fixture
def cloud(azurite: Azurite) -> Iterator[Cloud]:
    """A container that is reached through a proxy, which does to requests what it is told."""
    with cloud_over(azurite) as cloud:
        yield cloud
