"""The plain C tests, compiled and run under the address and undefined-behaviour sanitizers."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ext.compiling import SANITIZERS, compile_c, compile_objects

PROGRAMS = sorted(Path(__file__).parent.glob("*_test.c"))
_HOLDS_BUT_SKIPPED_SOME = 77
_WRAPPED = {
    "lane_memory_test": ["malloc", "calloc", "realloc", "epoll_ctl", "fcntl", "accept4"],
    "published_witness_test": ["statx"],
}


@pytest.fixture(scope="module")
def objects(
    tmp_path_factory: pytest.TempPathFactory, need: Callable[[str, str], str]
) -> list[Path]:
    directory = tmp_path_factory.mktemp("sanitized")
    return compile_objects(need("cc", "gcc"), *SANITIZERS, directory=directory)


@pytest.mark.parametrize("source", PROGRAMS, ids=lambda source: source.stem)
def test_the_c_holds_its_contract_under_sanitizers(
    source: Path, objects: list[Path], tmp_path: Path, need: Callable[[str, str], str]
) -> None:
    flags = [*SANITIZERS, *(f"-Wl,--wrap={name}" for name in _WRAPPED.get(source.stem, []))]
    arguments = [*flags, source, *objects, "-lcrypto", "-o", source.stem]
    compile_c(need("cc", "gcc"), *arguments, directory=tmp_path)
    program = [tmp_path / source.stem]
    ran = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    if ran.returncode == _HOLDS_BUT_SKIPPED_SOME:
        pytest.skip(ran.stderr)
    assert (ran.returncode, ran.stdout) == (0, "ok\n"), ran.stderr
