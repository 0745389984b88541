"""The libFuzzer targets. `python -m tests.ext.fuzzing SECONDS` gives each that much time."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from tests.ext.compiling import compile_c, compile_objects

FUZZ = Path(__file__).parent / "fuzz"
_SANITIZERS = "address,undefined"


def target_names() -> list[str]:
    return sorted(path.stem.removesuffix("_fuzz") for path in FUZZ.glob("*_fuzz.c"))


class Targets:
    """All targets, compiled in `directory`, where everything that they write stays."""

    def __init__(self, clang: str, directory: Path) -> None:
        self._directory = directory
        checks = "-fno-sanitize-recover=all"
        objects = compile_objects(
            clang, f"-fsanitize=fuzzer-no-link,{_SANITIZERS}", checks, directory=directory
        )
        for name in target_names():
            source = FUZZ / f"{name}_fuzz.c"
            linked = [f"-fsanitize=fuzzer,{_SANITIZERS}", checks, source, *objects, "-lcrypto"]
            compile_c(clang, *linked, "-o", name, directory=directory)

    def command(self, name: str, limit: str) -> list[str | Path]:
        """Return what runs the target from its corpus, which is not written to."""
        found = self._directory / f"{name}-found"
        found.mkdir(exist_ok=True)
        artifacts = f"-artifact_prefix={self._directory}/{name}-"
        return [self._directory / name, limit, artifacts, found, FUZZ / "corpus" / name]


def main(seconds: int) -> int:
    directory = Path(tempfile.mkdtemp(prefix="fastreg-fuzz-"))
    targets = Targets("clang", directory)
    for name in target_names():
        limit = f"-max_total_time={seconds}"
        if subprocess.run(targets.command(name, limit), check=False).returncode != 0:
            print(f"{name} failed; the input is below {directory}", file=sys.stderr)
            return 1
    print(f"no failure in {', '.join(target_names())}")
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
