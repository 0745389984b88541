"""The configuration: files, the environment over them, and what is said about mistakes."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from fastreg.config import Config, dump, load
from fastreg.config.reference import IGNORED, OTHER_DRIVERS, REFUSED
from tests.config.loading import environment, error_of

REFERENCE_DEV = """
version: 0.1
log:
  level: debug
  fields:
    service: registry
    environment: development
storage:
    delete:
      enabled: true
    cache:
        blobdescriptor: inmemory
    filesystem:
        rootdirectory: /var/lib/registry
    maintenance:
        uploadpurging:
            enabled: false
    tag:
      concurrencylimit: 8
http:
    addr: :5000
    debug:
        addr: :5001
        prometheus:
            enabled: true
            path: /metrics
    headers:
        X-Content-Type-Options: [nosniff]
health:
  storagedriver:
    enabled: true
    interval: 10s
    threshold: 3
"""
DEBIAN = """
version: 0.1
log:
  fields:
    service: registry
storage:
  cache:
    blobdescriptor: inmemory
  filesystem:
    rootdirectory: /var/lib/docker-registry
  delete:
    enabled: true
http:
  addr: :5000
  headers:
    X-Content-Type-Options: [nosniff]
auth:
  htpasswd:
    realm: basic-realm
    path: /etc/docker/registry
health:
  storagedriver:
    enabled: true
    interval: 10s
    threshold: 3
"""


# Defaults and files


def test_without_a_file_the_defaults_serve_a_directory_here_on_loopback() -> None:
    config = load(None, {})
    assert config.storage.filesystem.rootdirectory == Path("./data")
    assert config.http.addr == "127.0.0.1:5000"
    assert config.http.prefix == "/"
    assert config.http.host == ""
    assert config.http.draintimeout == timedelta(seconds=30)
    assert config.http.workers == len(os.sched_getaffinity(0))
    assert config.storage.delete.enabled is False
    assert config.storage.maintenance.uploadpurging.enabled is True
    assert config.storage.maintenance.uploadpurging.age == timedelta(days=7)
    assert config.storage.maintenance.uploadpurging.interval == timedelta(days=1)
    assert (config.log.level, config.log.formatter) == ("info", "text")
    assert (config.catalog.maxentries, config.tags.maxtags) == (1000, 1000)
    assert config.ignored == ()
    assert config == Config()


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load(None, {}).http.addr = ":1"  # type: ignore[misc]


def test_the_reference_registrys_development_file_is_used(write: Any) -> None:
    config = load(write(REFERENCE_DEV), {})
    assert config.log.level == "debug"
    assert config.log.fields == {"service": "registry", "environment": "development"}
    assert config.storage.filesystem.rootdirectory == Path("/var/lib/registry")
    assert config.storage.delete.enabled is True
    assert config.storage.maintenance.uploadpurging.enabled is False
    assert config.http.addr == ":5000"
    assert config.http.headers == {"X-Content-Type-Options": ("nosniff",)}
    ignored = ("health", "http.debug", "storage.cache.blobdescriptor", "storage.tag")
    assert config.ignored == ignored


def test_debians_file_is_refused_for_its_authentication_and_for_nothing_else(write: Any) -> None:
    assert error_of(write(DEBIAN)) == (
        "auth: authentication is not supported yet: "
        "refusing to serve unprotected what the configuration protects"
    )
    without_auth = {k: v for k, v in yaml.safe_load(DEBIAN).items() if k != "auth"}
    config = load(write(yaml.safe_dump(without_auth)), {})
    assert config.ignored == ("health", "storage.cache.blobdescriptor")


def test_what_is_dumped_loads_as_the_same_configuration(write: Any) -> None:
    config = load(write(REFERENCE_DEV), environment(HTTP_DRAINTIMEOUT="1m0.5s", HTTP_WORKERS="3"))
    assert dump(load(write(yaml.safe_dump(dump(config))), {})) == dump(config)


@pytest.mark.parametrize(
    ("storage", "rootdirectory"),
    [
        ("storage: filesystem", "/var/lib/registry"),
        ("storage: {filesystem: }", "/var/lib/registry"),
        ("storage: {filesystem: {maxthreads: 100}}", "/var/lib/registry"),
        ("storage: {filesystem: {rootdirectory: /srv}}", "/srv"),
        ("storage: {delete: {enabled: true}}", "data"),
        ("storage:", "data"),
    ],
)
def test_a_driver_that_is_named_has_the_reference_registrys_default_directory(
    write: Any, storage: str, rootdirectory: str
) -> None:
    config = load(write(f"version: 0.1\n{storage}\n"), {})
    assert config.storage.filesystem.rootdirectory == Path(rootdirectory)


def test_the_old_loglevel_counts_only_without_the_new_one(write: Any) -> None:
    assert load(write("version: 0.1\nloglevel: WARN"), {}).log.level == "warn"
    both = write("version: 0.1\nloglevel: warn\nlog: {level: Error}")
    assert load(both, {}).log.level == "error"
    assert "loglevel" in error_of(write("version: 0.1\nloglevel: loud"))


def test_a_key_without_a_value_has_its_default(write: Any) -> None:
    config = load(write("version: 0.1\nhttp:\nlog: {level: , fields: }\ncatalog: ~\n"), {})
    assert config == Config()


def test_anchors_and_merge_keys_work(write: Any) -> None:
    text = """
        version: 0.1
        log: {fields: &f {a: x}}
        http: {headers: {<<: {X-A: [b]}, X-C: &v [d], X-E: *v}}
    """
    config = load(write(text), environment(**{"HTTP_HEADERS_X-E_0": "e"}))
    assert config.http.headers == {"X-A": ("b",), "X-C": ("d",), "X-E": ("e",)}


@pytest.mark.parametrize("value", ["0", "-5"])
def test_a_catalog_limit_of_nothing_is_the_default(write: Any, value: str) -> None:
    assert load(None, environment(CATALOG_MAXENTRIES=value)).catalog.maxentries == 1000


def test_a_tag_limit_of_zero_is_the_default_and_a_negative_one_is_wrong() -> None:
    assert load(None, environment(TAGS_MAXTAGS="0")).tags.maxtags == 1000
    assert "tags.maxtags" in error_of(None, environment(TAGS_MAXTAGS="-1"))


@pytest.mark.parametrize(
    ("given", "prefix"), [("/", "/"), ("/a", "/a/"), ("/a/b/", "/a/b/"), ("''", "/")]
)
def test_a_prefix_ends_with_a_slash(given: str, prefix: str) -> None:
    assert load(None, environment(HTTP_PREFIX=given)).http.prefix == prefix


@pytest.mark.parametrize(
    "host", ["https://r.example.org", "http://127.0.0.1:5000", "https://[::1]:1/registry"]
)
def test_a_host_is_a_url_without_a_slash_at_its_end(host: str) -> None:
    assert load(None, environment(HTTP_HOST=host)).http.host == host
    assert load(None, environment(HTTP_HOST=host + "/")).http.host == host


@pytest.mark.parametrize("addr", [":5000", "localhost:0", "0.0.0.0:80", "[::1]:65535"])
def test_an_address_has_a_port(addr: str) -> None:
    assert load(None, environment(HTTP_ADDR=addr)).http.addr == addr


# Errors


@pytest.mark.parametrize(
    ("text", "key", "said"),
    [
        ("http: {adr: ':5000'}", "http.adr", "nearest known key: http.addr"),
        ("addr: ':5000'", "addr", "nearest known key: http.addr"),
        ("htpp: {addr: ':5000'}", "htpp", "nearest known key: http"),
        ("storage: {maintenence: {}}", "storage.maintenence", "storage.maintenance"),
        ("storage: {filesystem: {rootdir: /x}}", "storage.filesystem.rootdir", "rootdirectory"),
        ("http: {secrets: x}", "http.secrets", "http.secret"),
        ("ignored: [a]", "ignored", "known here: "),
        ("http: {zzz: '1'}", "http.zzz", "known here: addr, "),
        ("http: foo", "http", "a map of keys, got 'foo'"),
        ("http: {addr: '5000'}", "http.addr", "got '5000'"),
        ("http: {addr: ':65536'}", "http.addr", "a port of 0 to 65535"),
        ("http: {addr: 'unix:/run/x'}", "http.addr", "an address such as"),
        ("http: {addr: [a]}", "http.addr", "a text, got a list"),
        ("http: {host: r.example.org}", "http.host", "a URL such as"),
        ("http: {host: 'ftp://x'}", "http.host", "a URL such as"),
        ("http: {host: 'https://u:p@x'}", "http.host", "a URL such as"),
        ("http: {host: 'https://x:99999'}", "http.host", "a URL such as"),
        ("http: {host: 'https://[x'}", "http.host", "a URL such as"),
        ("http: {host: 'https://x/?a'}", "http.host", "without query"),
        ("http: {prefix: registry/}", "http.prefix", "begins with /"),
        ("http: {prefix: /a/../b}", "http.prefix", "begins with /"),
        ("http: {relativeurls: 1}", "http.relativeurls", "true or false, got '1'"),
        ("http: {workers: 0}", "http.workers", "an integer of 1 to 1024, got '0'"),
        ("http: {workers: two}", "http.workers", "an integer, got 'two'"),
        ("http: {draintimeout: 30}", "http.draintimeout", "a duration with its unit"),
        ("http: {draintimeout: -1s}", "http.draintimeout", "at least 0s"),
        ("http: {draintimeout: [1s]}", "http.draintimeout", "a duration"),
        ("http: {headers: {X-A: b}}", "http.headers.X-A", "a list of texts"),
        ('http: {headers: {X-A: ["b\\r\\nSet-Cookie: c"]}}', "http.headers.X-A.0", "one line"),
        ("http: {headers: {'X A': [b]}}", "http.headers.X A", "name of an HTTP header"),
        ("http: {headers: {Content-Length: ['1']}}", "http.headers.Content-Length", "other than"),
        ("log: {level: loud}", "log.level", "error, warn, info or debug, got 'loud'"),
        ("log: {formatter: xml}", "log.formatter", "text, json or logstash, got 'xml'"),
        ("log: {fields: {a: {b: c}}}", "log.fields.a", "a text, got a map"),
        ("storage: {filesystem: {rootdirectory: ''}}", "storage.filesystem.rootdirectory", "path"),
        (
            "storage: {maintenance: {uploadpurging: {age: 0s}}}",
            "storage.maintenance.uploadpurging.age",
            "at least 1m",
        ),
        (
            "storage: {maintenance: {readonly: true}}",
            "storage.maintenance.readonly",
            "a map of keys, got 'true'",
        ),
        ("storage: {s3: {}, filesystem: {}}", "storage", "one driver, got filesystem, s3"),
        ("http: {net: unix}", "http.net", "only tcp"),
    ],
)
def test_an_error_names_the_key_and_what_is_expected(
    write: Any, text: str, key: str, said: str
) -> None:
    message = error_of(write(f"version: 0.1\n{text}\n"))
    assert message.startswith(f"{key}: ")
    assert said in message


def test_the_value_of_a_mistyped_secret_is_not_shown() -> None:
    message = error_of(None, environment(HTTP_SECRETT="hunter2"))
    assert "nearest known key: http.secret" in message
    assert "hunter2" not in message


def test_a_long_value_is_shown_cut() -> None:
    assert "…" in error_of(None, environment(HTTP_ADDR="x" * 10_000))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected a map of keys such as http, got nothing"),
        ("- a", "got a list"),
        ("http: {}", "version: missing; expected 0.1"),
        ("version: 0.1\nversion: 0.1", "line 2: the key 'version' stands twice"),
        ("version: 0.1\nhttp: {addr: a, addr: b}", "line 2: the key 'addr' stands twice"),
        ("version: 0.1\nhttp: {[a]: b}", "line 2: a key that is no text"),
        ("version: 0.1\n~: b", "line 2: a key that is no text"),
        ("version: 0.1\nhttp: [", "line 2: "),
        ("version: 0.1\nhttp: *nobody", "line 2: found undefined alias"),
        ("&a {version: 0.1, http: *a}", "recursive"),
        ("version: 0.1\n---\nversion: 0.1", "expected a single document"),
        ("version: 0.1\nhttp: \0", "cannot be read as YAML"),
        ("version: 0.1\nhttp: !!python/object:os.system {}", "could not determine a constructor"),
        ("[" * 5000, "cannot be read as YAML"),
    ],
)
def test_a_file_that_is_no_configuration_is_named_with_the_line(
    write: Any, text: str, said: str
) -> None:
    path = write(text)
    message = error_of(path)
    assert message.startswith(f"{path}: ")
    assert said in message


@pytest.mark.parametrize("version", ["0.2", "1", "0.10", "[0.1]"])
def test_another_version_is_refused(write: Any, version: str) -> None:
    assert error_of(write(f"version: {version}")).startswith("version: expected 0.1, got ")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "missing.yml"
    assert error_of(missing) == f"{missing}: cannot be read: No such file or directory"
    assert error_of(tmp_path) == f"{tmp_path}: cannot be read: Is a directory"
    assert "cannot be read" in error_of(tmp_path / "a\0b")


def test_a_file_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    path = tmp_path / "latin1.yml"
    path.write_bytes("version: 0.1 # é".encode("latin-1"))
    assert error_of(path).startswith(f"{path}: cannot be read as YAML: ")


# Keys of the reference registry

USED_ALONE = ("auth", "http.net", "middleware")
"""Ignored only while they say nothing: refused otherwise."""
AZURE = "{accountname: devstoreaccount1, accountkey: a2V5, container: images}"


@pytest.mark.parametrize("key", [key for key in IGNORED if key not in USED_ALONE])
def test_a_harmless_key_is_accepted_and_reported(key: str) -> None:
    container = {"STORAGE_AZURE": AZURE} if "azure" in key else {}
    variable = key.upper().replace(".", "_")
    config = load(None, environment(**container, **{variable: "{any: [thing]}"}))
    assert config.ignored == (key,)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("auth: none", "auth"),
        ("auth: {none: }", "auth"),
        ("http: {net: tcp}", "http.net"),
        (
            "http: {tls: {certificate: '', letsencrypt: {hosts: []}, minimumtls: tls1.2}}",
            "http.tls",
        ),
        ("notifications: {endpoints: [{name: a, url: b, disabled: true}]}", "notifications"),
        ("notifications: {endpoints: []}", "notifications"),
        ("proxy: {remoteurl: '', username: x}", "proxy"),
        ("middleware: {storage: [{name: redirect, disabled: true}]}", "middleware"),
        ("middleware: {storage: []}", "middleware"),
        ("validation: {disabled: true, manifests: {urls: {allow: []}}}", "validation"),
    ],
)
def test_a_protecting_key_that_is_not_used_is_accepted_and_reported(
    write: Any, text: str, key: str
) -> None:
    assert load(write(f"version: 0.1\n{text}\n"), {}).ignored == (key,)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("auth: htpasswd", "auth"),
        ("auth: {htpasswd: {realm: x}}", "auth"),
        ("auth: {token: }", "auth"),
        ("auth: [htpasswd]", "auth"),
        ("http: {tls: {certificate: /c}}", "http.tls.certificate"),
        ("http: {tls: {key: /k}}", "http.tls.key"),
        ("http: {tls: {clientcas: [/c]}}", "http.tls.clientcas"),
        ("http: {tls: {letsencrypt: {email: a@b}}}", "http.tls.letsencrypt"),
        ("http: {net: unix}", "http.net"),
        ("proxy: {remoteurl: 'https://registry-1.docker.io'}", "proxy.remoteurl"),
        (
            "notifications: {endpoints: [{name: a, disabled: true}, {name: b}]}",
            "notifications.endpoints",
        ),
        ("middleware: {storage: [{name: redirect}]}", "middleware"),
        ("middleware: redirect", "middleware"),
        (
            "validation: {manifests: {urls: {allow: ['^https:']}}}",
            "validation.manifests.urls.allow",
        ),
        ("validation: {manifests: {urls: {deny: ['^ftp:']}}}", "validation.manifests.urls.deny"),
    ],
)
def test_a_protecting_key_that_is_used_ends_the_start(write: Any, text: str, key: str) -> None:
    message = error_of(write(f"version: 0.1\n{text}\n"))
    assert message.startswith(f"{key}: ")
    assert "support" in message


def test_every_refused_key_is_below_an_ignored_one_for_when_it_is_not_used() -> None:
    uncovered = [r.key for r in REFUSED if not any(_is_below(r.key, key) for key in IGNORED)]
    assert uncovered == []


def _is_below(key: str, parent: str) -> bool:
    return key == parent or key.startswith(parent + ".")


@pytest.mark.parametrize("driver", sorted(OTHER_DRIVERS))
def test_another_storage_driver_is_refused_by_name(write: Any, driver: str) -> None:
    expected = f"storage.{driver}: driver {driver} is not supported; known: filesystem, azure"
    assert error_of(write(f"version: 0.1\nstorage: {driver}")) == expected
    assert error_of(write(f"version: 0.1\nstorage: {{{driver}: }}")) == expected
