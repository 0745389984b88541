"""Pushing the load tests' images, to a registry of processes."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from loadtests.client.failures import Disconnected, Failure, Refused, Unauthorized
from loadtests.client.registry import Registry as Client
from loadtests.images import catalog
from loadtests.seed import Tell, explain, main, push_image
from tests.clients.processes import free_port, need, run
from tests.live.processes import Registry

pytestmark = pytest.mark.live
SCALE = 0.003


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    workdir = tmp_path_factory.mktemp("seed")
    registry = Registry(workdir / "data", workdir, {})
    yield f"http://{registry.host}"
    registry.stop()


def seed(host: str, *options: str) -> Result:
    return CliRunner().invoke(main, ["--host", host, "--scale", str(SCALE), *options])


def test_seeding_again_pushes_nothing(host: str) -> None:
    options = ["--prefix", "twice", "--images", "redis,busybox"]
    first, second = seed(host, *options), seed(host, *options)
    assert (first.exit_code, second.exit_code) == (0, 0), first.output + second.output
    redis, busybox, total = first.output.splitlines()
    assert redis == "twice/redis:latest: 0.3 MB pushed, 0.0 MB there already"
    assert busybox.startswith("twice/busybox:latest: ")
    assert total.startswith("0.3 MB pushed, 0.0 MB there already, in ")
    again = second.output.splitlines()
    assert again[0] == "twice/redis:latest: 0.0 MB pushed, 0.3 MB there already"
    assert again[2].startswith("0.0 MB pushed, 0.3 MB there already, in ")


def test_what_is_there_is_only_asked_for(host: str) -> None:
    (image,) = catalog(SCALE, ["redis"])
    asked: list[str] = []
    client = Client(host, observe=lambda name, *_: asked.append(name))
    assert push_image(client, "asked/redis", image) == sum(blob.size for blob in image.blobs)
    assert asked.count("PUT upload") == len(image.blobs)
    asked.clear()
    assert push_image(client, "asked/redis", image) == 0
    assert {name.split()[0] for name in asked} == {"HEAD", "GET"}
    client.close()


def test_a_push_that_broke_off_is_gone_on_with(host: str) -> None:
    (image,) = catalog(SCALE, ["node"])
    client = Client(host)

    def breaking(size: int) -> Tell:
        left = [size]

        def tell(sent: int) -> None:
            left[0] -= sent
            if left[0] < size // 2:
                raise Failure("broken off")

        return tell

    with pytest.raises(Failure, match="broken off"):
        push_image(client, "broken/node", image, breaking)
    assert not client.head_manifest("broken/node", "latest")
    told: list[int] = []
    pushed = push_image(client, "broken/node", image, lambda size: told.append)
    assert 0 < pushed < sum(blob.size for blob in image.blobs)
    assert sum(told) == pushed
    assert client.manifest("broken/node", "latest").digest == image.index_digest
    client.close()


def test_the_tag_moves_to_what_is_pushed_last(host: str) -> None:
    larger, smaller = (catalog(scale, ["busybox"])[0] for scale in (SCALE, SCALE / 2))
    client = Client(host)
    for image in (larger, smaller, larger):
        push_image(client, "moved/busybox", image)
        assert client.manifest("moved/busybox", "latest").digest == image.index_digest
    client.close()


def test_skopeo_copies_all_platforms_of_a_seeded_image(host: str, tmp_path: Path) -> None:
    need("skopeo", "skopeo")
    assert seed(host, "--images", "redis").exit_code == 0
    source = f"docker://{host.removeprefix('http://')}/swarm/redis:latest"
    run("skopeo", "copy", "--all", "--src-tls-verify=false", source, f"dir:{tmp_path}")
    (image,) = catalog(SCALE, ["redis"])
    copied = {path.name for path in tmp_path.iterdir()}
    assert {blob.digest.removeprefix("sha256:") for blob in image.blobs} <= copied


def test_a_registry_that_is_not_there_is_named_in_one_line() -> None:
    done = seed(f"http://127.0.0.1:{free_port()}", "--images", "busybox")
    assert done.exit_code == 1
    assert "does not answer" in done.output
    assert len(done.output.splitlines()) == 1


def test_an_unknown_image_is_refused_with_the_known_names() -> None:
    done = seed("http://127.0.0.1:1", "--images", "redis,debian")
    assert done.exit_code == 2
    assert "there is no debian, but ubuntu, centos" in done.output


@pytest.mark.parametrize(
    ("option", "value"),
    [("--images", ","), ("--scale", "nan"), ("--scale", "0"), ("--prefix", "../a")],
)
def test_an_option_that_says_nothing_that_can_be_done_is_named(option: str, value: str) -> None:
    done = seed("http://127.0.0.1:1", option, value)
    assert done.exit_code == 2
    assert f"'{option}'" in done.output


def test_an_address_below_the_root_is_refused() -> None:
    done = seed("http://127.0.0.1:1/below")
    assert done.exit_code == 1
    assert "at the root of its address" in done.output


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (Disconnected("refused"), "Is the registry running"),
        (Unauthorized("GET ping", 401, ""), "give --user and --password"),
        (Refused("POST upload", 403, "DENIED"), "another --user or --prefix"),
        (Refused("GET ping", 404, ""), "is no registry"),
        (Refused("POST upload", 405, "UNSUPPORTED"), "read-only"),
        (Refused("PUT upload", 507, ""), "disk is full"),
        (Failure("something else"), "something else"),
    ],
)
def test_a_failure_is_told_with_what_to_do(error: Failure, advice: str) -> None:
    told = explain(error, "http://registry:5000")
    assert advice in told
    assert "\n" not in told
