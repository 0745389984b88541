"""`REGISTRY_A_B_C` over the configuration file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fastreg.config import Config, ConfigError, dump, known_keys, load
from fastreg.config.source import Source
from tests.config.loading import environment, error_of

FILE = """
    version: 0.1
    log: {fields: {service: registry, environment: development}}
    storage: {filesystem: {rootdirectory: /var/lib/registry}, delete: {enabled: true}}
    http: {addr: ':5000', headers: {X-Content-Type-Options: [nosniff]}}
"""


def test_a_variable_overrides_the_file(write: Any) -> None:
    config = load(write(FILE), environment(HTTP_ADDR=":1", LOG_FIELDS_SERVICE="other"))
    assert config.http.addr == ":1"
    assert config.log.fields == {"service": "other", "environment": "development"}


def test_a_variables_value_is_yaml(write: Any) -> None:
    config = load(
        write(FILE),
        environment(
            STORAGE_MAINTENANCE_READONLY="{enabled: true}",
            HTTP_HEADERS="{X-A: [b, c]}",
            STORAGE_DELETE_ENABLED="off",
        ),
    )
    assert config.storage.maintenance.readonly.enabled is True
    assert config.http.headers == {"X-A": ("b", "c")}
    assert config.storage.delete.enabled is False


def test_a_longer_variable_is_applied_to_what_a_shorter_one_set(write: Any) -> None:
    config = load(
        write(FILE),
        environment(STORAGE_FILESYSTEM_ROOTDIRECTORY="/srv", STORAGE="filesystem"),
    )
    assert config.storage.filesystem.rootdirectory == Path("/srv")
    assert config.storage.delete.enabled is False, "REGISTRY_STORAGE replaces the section"


def test_a_variable_of_another_driver_next_to_the_files_is_two_drivers(write: Any) -> None:
    message = error_of(write(FILE), environment(STORAGE_AZURE_CONTAINER="c"))
    assert message.startswith("storage (set by REGISTRY_STORAGE_AZURE_CONTAINER): ")
    assert "got azure, filesystem" in message


def test_a_variable_names_a_driver_without_parameters() -> None:
    message = error_of(None, environment(AUTH_HTPASSWD=""))
    assert message.startswith("auth (set by REGISTRY_AUTH_HTPASSWD): authentication")


def test_an_empty_variable_resets_a_key_to_its_default(write: Any) -> None:
    assert load(write(FILE), environment(HTTP_ADDR="")).http.addr == "127.0.0.1:5000"


def test_a_header_of_the_environment_replaces_the_files_in_any_case(write: Any) -> None:
    environ = environment(
        **{"HTTP_HEADERS_X-CONTENT-TYPE-OPTIONS": "[other]", "HTTP_HEADERS_X-New": "[n]"}
    )
    headers = load(write(FILE), environ).http.headers
    assert headers == {"X-Content-Type-Options": ("other",), "x-new": ("n",)}


def test_a_list_can_be_set_by_index(write: Any) -> None:
    path = write("version: 0.1\nhttp: {headers: {X-A: [a, b]}}")
    environ = environment(
        **{"HTTP_HEADERS_X-A_1": "B", "HTTP_HEADERS_X-A_2": "C", "HTTP_HEADERS_X-B_0": "d"}
    )
    assert load(path, environ).http.headers == {"X-A": ("a", "B", "C"), "x-b": ("d",)}


@pytest.mark.parametrize("index", ["1", "-1", "x", "", "99999999999"])
def test_an_index_past_the_lists_end_is_an_error(index: str) -> None:
    environ = environment(**{"HTTP_HEADERS_X-A": "[]", f"HTTP_HEADERS_X-A_{index}": "a"})
    message = error_of(None, environ)
    assert (
        message == f"REGISTRY_HTTP_HEADERS_X-A_{index}: expected an index of 0 to 0, got {index!r}"
    )


def test_a_variable_below_a_value_is_an_error() -> None:
    message = error_of(None, environment(HTTP_ADDR=":1", HTTP_ADDR_PORT="5000"))
    assert message.startswith("REGISTRY_HTTP_ADDR_PORT: ")
    assert "http.addr has the value ':1'" in message


def test_a_variable_that_is_no_yaml_is_a_text() -> None:
    assert load(None, environment(HTTP_ADDR="[::1]:5000")).http.addr == "[::1]:5000"
    secret = load(None, environment(HTTP_SECRET="@%*[")).http.secret
    assert secret.get_secret_value() == "@%*["
    message = error_of(None, environment(HTTP_HEADERS="[*]"))
    assert (
        message == "http.headers (set by REGISTRY_HTTP_HEADERS): expected a map of keys, got '[*]'"
    )


@pytest.mark.parametrize("name", ["FOO", "HTTP_ADR", "", "HTTP_PORT", "HTTP_", "_"])
def test_an_unknown_variable_is_an_error_that_names_it(name: str) -> None:
    message = error_of(None, environment(**{name: "x"}))
    assert f"(set by REGISTRY_{name}): unknown key, with the value " in message


@pytest.mark.parametrize(
    "name",
    [
        "PORT",
        "PORT_5000_TCP",
        "PORT_5000_TCP_ADDR",
        "PORT_5000_TCP_PORT",
        "PORT_5000_TCP_PROTO",
        "SERVICE_HOST",
        "SERVICE_PORT",
        "SERVICE_PORT_HTTP",
        "UI_SERVICE_HOST",
        "UI_PORT_80_TCP_ADDR",
        "CONFIGURATION_PATH",
    ],
)
def test_what_kubernetes_sets_and_the_files_own_variable_are_no_keys(name: str) -> None:
    assert load(None, environment(**{name: "tcp://10.0.0.1:5000"})) == Config()


def test_other_variables_are_not_looked_at() -> None:
    environ = {
        "OTEL_TRACES_EXPORTER": "none",
        "registry_http_addr": ":1",
        "REGISTRYX": "[",
        "PATH": "",
    }
    assert load(None, environ) == Config()


def test_a_variable_with_bytes_that_are_no_text_is_an_error() -> None:
    assert "REGISTRY_HTTP_ADDR" in error_of(None, environment(HTTP_ADDR="\udcff"))


AZURE = environment(
    STORAGE="azure",
    STORAGE_AZURE_ACCOUNTNAME="account",
    STORAGE_AZURE_ACCOUNTKEY="a2V5",
    STORAGE_AZURE_CONTAINER="images",
)
EVERYTHING = Config(storage=load(None, AZURE).storage).model_dump(mode="json")


def _variable(key: str) -> str:
    return "REGISTRY_" + key.upper().replace(".", "_")


KEYS = [key for key in known_keys() if "filesystem" not in key and "accountkey" not in key]


@given(st.lists(st.sampled_from(KEYS), unique=True))
def test_every_key_can_be_set_by_its_variable(keys: list[str]) -> None:
    environ = {_variable(key): yaml.safe_dump(_at(EVERYTHING, key)) for key in keys}
    assert dump(load(None, AZURE | environ)) == dump(load(None, AZURE))


def _at(tree: Any, key: str) -> Any:
    for part in key.split("."):
        tree = tree[part]
    return tree


segments = st.sampled_from(["A", "B", "c", "0", "1", "HTTP", "LOG", "STORAGE", ""])
payloads = st.sampled_from(["", "a", "1", "[a, b]", "{a: {b: c}}", "[", "{0: x}", "~", ":5000"])


def outcome(environ: Mapping[str, str]) -> str:
    """The error that the environment gives, empty where it gives a configuration."""
    try:
        load(None, environ)
    except ConfigError as error:
        return str(error)
    return ""


@given(st.dictionaries(st.lists(segments, min_size=1, max_size=4).map("_".join), payloads))
def test_any_environment_gives_a_configuration_or_one_line_that_names_a_variable(
    variables: dict[str, str],
) -> None:
    message = outcome(environment(**variables))
    assert message.isprintable()
    assert not message or any(f"REGISTRY_{name}" in message for name in variables)


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_value_gives_a_configuration_or_one_line(value: str, name: str) -> None:
    message = outcome(environment(**{f"HTTP_HEADERS_{name}": f"[{value}]", "HTTP_PREFIX": value}))
    assert message.isprintable()
    assert not message or "REGISTRY_HTTP_" in message


def test_a_label_names_the_nearest_variable() -> None:
    source = Source({}, {("a",): "A", ("a", "b"): "A_B", ("c", "d"): "C_D"})
    assert source.label(["a", "x"]) == "a.x (set by A)"
    assert source.label(["a", "b", "c"]) == "a.b.c (set by A_B)"
    assert source.label(["c"]) == "c (set by C_D)"
    assert source.label(["e"]) == "e"
