"""A certificate that nobody but itself signs."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Certificate:
    file: Path
    key: Path


def self_signed(directory: Path) -> Certificate:
    """Make a certificate of 127.0.0.1 in `directory`."""
    made = Certificate(directory / "certificate.pem", directory / "key.pem")
    command = (
        f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -keyout {made.key} -out {made.file}"
    )
    names = "-subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    if shutil.which("openssl") is None:
        message = "openssl is missing: apt-get install openssl"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    subprocess.run(f"{command} {names}".split(), check=True, capture_output=True)
    return made
