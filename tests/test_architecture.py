"""Who may import whom, and that an import does nothing else."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import fastreg

PACKAGE = Path(fastreg.__file__).parent
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path
    for path in sorted(PACKAGE.rglob("*.py"))
}

MAY_IMPORT: dict[str, set[str]] = {
    "oci": set(),
    "errors": set(),
    "fastlane": set(),
    "metrics": set(),
    "logs": set(),
    "config": set(),
    "storage": {"metrics"},
    "registry": {"storage", "oci", "errors", "fastlane"},
    "auth": {"errors"},
    "api": {"registry", "auth", "oci", "errors"},
    "proxy": {"registry", "oci"},
    "notifications": {"registry", "oci"},
    "server": {"fastlane", "metrics"},
    "cli": {"bootstrap", "config"},
    "__init__": set(),
    "__main__": {"cli"},
}
"""What each room may import besides itself. `bootstrap` and `stores`, which put the rooms
together, may import all but the command line."""


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


def imports(path: Path) -> set[str]:
    """The modules of fastreg that a file imports, wherever in it and for whatever use."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found.update(names if node.module == "fastreg" else {str(node.module)})
    return {name for name in found if name.split(".")[0] == "fastreg"}


def may_import(importer: str, imported: str) -> bool:
    target = imported.removeprefix("fastreg.")
    if room(importer) in ("bootstrap", "stores"):
        return room(imported) not in ("cli", "__main__")
    allowed = MAY_IMPORT[room(importer)] | {room(importer)}
    return any(target == name or target.startswith(name + ".") for name in allowed)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_imports_only_what_its_room_may(module: str) -> None:
    importer = module.removesuffix(".__init__")
    wrong = sorted(name for name in imports(MODULES[module]) if not may_import(importer, name))
    assert wrong == []


def test_every_room_stands_in_the_table() -> None:
    rooms = {room(module.removesuffix(".__init__")) for module in MODULES}
    assert rooms - {"bootstrap", "stores"} <= MAY_IMPORT.keys()


def test_the_rule_sees_a_wrong_import(tmp_path: Path) -> None:
    path = tmp_path / "wrong.py"
    path.write_text("def f():\n    from fastreg.api import app\n    from fastreg import cli\n")
    assert imports(path) == {"fastreg.api", "fastreg.cli"}
    assert not may_import("fastreg.storage.local", "fastreg.api")
    assert not may_import("fastreg.bootstrap", "fastreg.cli")
    assert may_import("fastreg.api.app", "fastreg.registry.store")


# Each module is imported first of all in a process of its own: a fork, because the start of
# an interpreter costs more than most of the imports.
IMPORT_EACH = """
import os, signal, sys, threading

def state():
    return (
        sorted(os.listdir("/proc/self/fd")),
        threading.active_count(),
        [signal.getsignal(s) for s in sorted(signal.valid_signals())],
        dict(os.environ),
        os.getcwd(),
        os.umask(0o22),
    )

def import_one(name):
    before = state()
    __import__(name)
    assert state() == before, f"{name} changes {before} to {state()}"
    monkey = sys.modules.get("gevent.monkey")
    assert not (monkey and monkey.saved), f"{name} patches {list(monkey.saved)}"
    loop = sys.modules.get("gevent._hub_local")
    assert not (loop and loop.get_hub_if_exists()), f"{name} starts an event loop"

os.umask(0o22)
failed = 0
for name in sys.argv[1:]:
    pid = os.fork()
    if pid == 0:
        try:
            import_one(name)
        except BaseException as error:
            print(name, repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        sys.stdout.flush()
        os._exit(0)
    failed |= os.waitpid(pid, 0)[1]
sys.exit(1 if failed else 0)
"""


def test_importing_a_module_does_nothing_else(tmp_path: Path) -> None:
    names = [name.removesuffix(".__init__") for name in MODULES if name != "fastreg.__main__"]
    done = subprocess.run(
        [sys.executable, "-B", "-c", IMPORT_EACH, *names],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


def test_the_supervisors_modules_do_not_start_gevent() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import sys, fastreg.bootstrap; print('gevent' in sys.modules)"],
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("False\n", "")
