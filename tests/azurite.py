"""A real Azurite: one process for all tests of a pytest process, a container for each."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Final

import fastreg
from fastreg.storage.azure_client import AzureSettings, prepare
from tests.tls import Certificate

ACCOUNT: Final = "devstoreaccount1"
KEY: Final = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
"""Published: every Azurite has them."""
INSTALL: Final = "run `make test-requirements`"
_INSTALLED: Final = Path(fastreg.__file__).parents[1] / ".venv/azurite/node_modules/.bin"
_START_S: Final = 60
_containers = count()


def find_azurite() -> str | None:
    """Return the program, where `make test-requirements` put it or on the PATH."""
    return shutil.which("azurite-blob", path=f"{_INSTALLED}{os.pathsep}{os.environ['PATH']}")


class Azurite:
    """A running Azurite on 127.0.0.1, its data in `location`; ended by `stop`. With a
    certificate it speaks TLS, and takes Entra's tokens, whoever signed them."""

    def __init__(
        self, program: str, location: Path, certificate: Certificate | None = None
    ) -> None:
        self.port = _free_port()
        scheme = "http" if certificate is None else "https"
        self.service_url = f"{scheme}://127.0.0.1:{self.port}/{ACCOUNT}"
        self._log = location / "azurite.log"
        command = [program, "--silent", "--skipApiVersionCheck", "--loose", "--disableTelemetry"]
        if certificate is not None:
            command += ["--cert", str(certificate.file), "--key", str(certificate.key)]
            command += ["--oauth", "basic"]
        with open(self._log, "ab") as log:
            self.process = subprocess.Popen(
                [*command, "--location", str(location), "--blobPort", str(self.port)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def wait(self) -> None:
        """Return once it listens."""
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline and self.process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise AssertionError(f"Azurite did not start:\n{self._log.read_text()}")

    def settings(self, **others: object) -> AzureSettings:
        """Return the settings of a container that nobody used yet; `others` win."""
        found: dict[str, object] = {
            "account_name": ACCOUNT,
            "account_key": KEY,
            "container": f"test-{os.getpid()}-{next(_containers)}",
            "service_url": self.service_url,
        }
        return AzureSettings(**(found | others))  # type: ignore[arg-type]

    def new_container(self, **others: object) -> AzureSettings:
        """Return the settings of a container that is there and empty."""
        settings = self.settings(**others)
        prepare(settings)
        return settings

    def stop(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@contextmanager
def running(
    program: str, location: Path, certificate: Certificate | None = None
) -> Iterator[Azurite]:
    azurite = Azurite(program, location, certificate)
    try:
        azurite.wait()
        yield azurite
    finally:
        azurite.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
