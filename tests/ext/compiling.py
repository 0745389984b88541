"""The plain C below `ext/`, compiled for tests."""

import subprocess
from pathlib import Path

EXT = Path(__file__).parents[2] / "ext"

_FLAGS = ["-std=c11", "-g", "-O1", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror"]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


def compile_c(compiler: str, *arguments: str | Path, directory: Path) -> None:
    """Run the compiler in `directory`. Raises RuntimeError with what it says."""
    command = [compiler, *_FLAGS, f"-I{EXT}", *arguments]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        raise RuntimeError(done.stderr)


def compile_objects(compiler: str, *flags: str, directory: Path) -> list[Path]:
    """Compile all of it into `directory`, and return the objects."""
    compile_c(compiler, *flags, "-c", *sorted(EXT.glob("*.c")), directory=directory)
    return sorted(directory.glob("*.o"))
