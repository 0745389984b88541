"""The thread that hashes beside the one that receives, under the thread sanitizer."""

import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.ext.compiling import EXT, compile_c

HERE = Path(__file__).parent


def test_receiving_and_hashing_share_nothing_without_a_lock(
    tmp_path: Path, need: Callable[[str, str], str]
) -> None:
    sources = [
        HERE / "transfer_test.c",
        *(EXT / f"{n}.c" for n in ("transfer", "framing", "digest")),
    ]
    compile_c(
        need("cc", "gcc"), "-fsanitize=thread", *sources, "-lcrypto", "-o", "t", directory=tmp_path
    )
    ran = subprocess.run([tmp_path / "t"], capture_output=True, text=True, timeout=100)
    assert (ran.returncode, ran.stdout) == (0, "ok\n"), ran.stderr
