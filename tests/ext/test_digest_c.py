"""The plain C tests, compiled and run under the address and undefined-behaviour sanitizers."""

import subprocess
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
EXT = HERE.parents[1] / "ext"

FLAGS = ["-std=c11", "-g", "-O1", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


def test_c_digest_holds_its_contract_under_sanitizers(
    tmp_path: Path, need: Callable[[str, str], str]
) -> None:
    program = tmp_path / "digest_test"
    sources = [HERE / "digest_test.c", EXT / "digest.c"]
    compiled = subprocess.run(
        [need("cc", "gcc"), *FLAGS, *SANITIZERS, f"-I{EXT}", *sources, "-lcrypto", "-o", program],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert compiled.returncode == 0, compiled.stderr
    ran = subprocess.run([program], capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stdout) == (0, "ok\n"), ran.stderr
