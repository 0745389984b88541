"""An acknowledged push is on the disk: told by the order of a worker's system calls."""

import re
from pathlib import Path

import pytest

from tests.live.client import Upload, config_of, digest_of, manifest_of, noise
from tests.live.conftest import Start
from tests.live.processes import wait_until
from tests.live.strace import Call, Trace, tracing

pytestmark = pytest.mark.live

NAME = "durable/image"
TRACED = ("fsync", "fdatasync", "rename", "renameat", "renameat2", "sendto", "write", "openat")
TRACED += ("mkdir", "mkdirat", "sendmsg", "writev")


def is_sync(call: Call, path: str) -> bool:
    return (
        call.name in ("fsync", "fdatasync") and re.search(f"<{path}>", call.arguments) is not None
    )


def is_answer(call: Call) -> bool:
    return (
        call.name in ("sendto", "sendmsg", "write", "writev") and "HTTP/1.1 201" in call.arguments
    )


def position(calls: list[Call], start: int, what: str, path: str) -> int:
    """Return where, from `start` on, the call is that does `what` to `path`."""
    for index in range(start, len(calls)):
        call = calls[index]
        found = is_sync(call, path) if what == "sync" else is_move(call, path)
        if found:
            return index
    steps = "\n".join(f"{call.name}({call.arguments})" for call in calls)
    pytest.fail(f"no {what} of {path} in its place:\n{steps}")


def is_move(call: Call, path: str) -> bool:
    directory, _, name = path.rpartition("/")
    target = rf'<{directory}>, "{name}"|"{path}"'
    return (
        call.name.startswith("rename")
        and re.search(rf"(?:{target})[^\"]*$", call.arguments) is not None
    )


def assert_made_durable(calls: list[Call], start: int, path: str, *, source: str) -> int:
    """Assert that a file is synced, gets its name, and its directory is synced; return where."""
    at = position(calls, start, "sync", source)
    at = position(calls, at, "move", path)
    return position(calls, at, "sync", path.rpartition("/")[0])


def assert_new_directories_are_durable(calls: list[Call]) -> None:
    """Assert that whatever directory was made, its entry was synced afterwards."""
    for index, call in enumerate(calls):
        if call.name.startswith("mkdir") and ".fastreg" not in call.arguments:
            made = re.search(r'"([^"]+)"', call.arguments)
            assert made is not None
            if "/hashstates" not in made[1]:
                position(calls, index, "sync", re.escape(made[1].rpartition("/")[0]))


def until_answered(trace: Trace) -> list[Call]:
    """Return what was done before the 201 left.

    To be called while the trace runs: the client has the answer before the call that sent it
    is written down, and a tracer that is ended in between leaves it out.
    """
    wait_until(lambda: any(map(is_answer, trace.calls())), "written down")
    calls = trace.calls()
    answers = [index for index, call in enumerate(calls) if is_answer(call)]
    assert len(answers) == 1
    return calls[: answers[0]]


def test_a_push_is_acknowledged_after_every_step_is_on_the_disk(
    start: Start, workdir: Path
) -> None:
    registry = start({"http.workers": "1"})
    client = registry.client()
    worker = registry.wait_for_workers()[0]
    config, layer = config_of(b"durable"), noise("durable", 300_000)
    client.push_whole(NAME, config)
    manifest = manifest_of(config, layer)
    root = re.escape(f"{registry.data}/docker/registry/v2")
    repository, scratch = f"{root}/repositories/{NAME}", f"{registry.data}/.fastreg/tmp/[^/>]+"
    layer_hex, manifest_hex = (digest_of(each).partition(":")[2] for each in (layer, manifest))

    upload = Upload(client, NAME)
    upload.patch(layer).expect(202)
    with tracing(worker, workdir / "blob.strace", *TRACED) as trace:
        upload.finish(digest_of(layer)).expect(201)
        calls = until_answered(trace)
    data = f"{root}/blobs/sha256/{layer_hex[:2]}/{layer_hex}/data"
    link = f"{repository}/_layers/sha256/{layer_hex}/link"
    at = assert_made_durable(calls, 0, data, source=f"{repository}/_uploads/{upload.id}/data")
    assert_made_durable(calls, at, link, source=scratch)
    assert_new_directories_are_durable(calls)

    with tracing(worker, workdir / "manifest.strace", *TRACED) as trace:
        client.put_manifest(NAME, "latest", manifest).expect(201)
        calls = until_answered(trace)
    tag = f"{repository}/_manifests/tags/latest"
    at = 0
    for path in (
        f"{root}/blobs/sha256/{manifest_hex[:2]}/{manifest_hex}/data",
        f"{repository}/_manifests/revisions/sha256/{manifest_hex}/link",
        f"{tag}/index/sha256/{manifest_hex}/link",
        f"{tag}/current/link",
    ):
        at = assert_made_durable(calls, at, path, source=scratch)
    assert_new_directories_are_durable(calls)
