"""Where images are kept: the drivers, Azure's keys, the cache, and secrets never shown."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from fastreg.config import Config, dump, load
from tests.config.loading import environment, error_of

KEY = "c2VjcmV0IGtleSBvZiB0aGUgYWNjb3VudA=="
CONNECTION = f"DefaultEndpointsProtocol=https;AccountName=images;AccountKey={KEY}"


def azure(**variables: str) -> dict[str, str]:
    """The environment of a container, with the variables below storage.azure over it."""
    given = {"ACCOUNTNAME": "account", "ACCOUNTKEY": KEY, "CONTAINER": "images"} | variables
    named = {f"STORAGE_AZURE_{name}": value for name, value in given.items()}
    return environment(STORAGE="azure", **named)


def cache(**variables: str) -> dict[str, str]:
    named = {f"STORAGE_CACHE_{name}": value for name, value in variables.items()}
    return azure() | environment(**named)


# The driver


def test_the_environment_alone_names_a_container() -> None:
    config = load(None, azure())
    assert config.storage.azure
    assert config.storage.azure.accountname == "account"
    assert config.storage.azure.accountkey.get_secret_value() == KEY
    assert config.storage.azure.container == "images"
    assert config.storage.azure.credentials.type == "shared_key"
    assert config.ignored == ()


def test_what_the_reference_registry_takes_is_taken(write: Any) -> None:
    text = f"""
        version: 0.1
        storage:
          azure:
            accountname: account
            accountkey: {KEY}
            container: images
            rootdirectory: /some/where
            realm: core.usgovcloudapi.net
            serviceurl: http://127.0.0.1:10000/account/
            max_retries: 7
            retry_delay: 250ms
            skipverify: true
            credentials: {{type: shared_key}}
    """
    azure = load(write(text), {}).storage.azure
    assert azure
    assert (azure.rootdirectory, azure.realm) == ("/some/where", "core.usgovcloudapi.net")
    assert azure.serviceurl == "http://127.0.0.1:10000/account"
    assert (azure.max_retries, azure.retry_delay) == (7, timedelta(milliseconds=250))
    assert azure.skipverify


def test_keys_with_an_underscore_are_set_by_their_variables() -> None:
    azure_ = load(None, azure(MAX_RETRIES="9", RETRY_DELAY="1s")).storage.azure
    assert azure_
    assert (azure_.max_retries, azure_.retry_delay) == (9, timedelta(seconds=1))


@pytest.mark.parametrize(("given", "retries"), [("0", 5), ("-1", -1), ("3", 3)])
def test_no_retries_are_asked_for_by_minus_one(given: str, retries: int) -> None:
    azure_ = load(None, azure(MAX_RETRIES=given)).storage.azure
    assert azure_
    assert azure_.max_retries == retries


@pytest.mark.parametrize(
    "variables",
    [
        {"ACCOUNTKEY": "", "CREDENTIALS_TYPE": "default_credentials"},
        {
            "ACCOUNTKEY": "",
            "CREDENTIALS": "{type: client_secret, clientid: c, tenantid: t, secret: s}",
        },
        {"ACCOUNTKEY": "", "ACCOUNTNAME": "", "CONNECTIONSTRING": CONNECTION},
        {
            "ACCOUNTKEY": "",
            "CONNECTIONSTRING": "BlobEndpoint=https://a.example/;SharedAccessSignature=sv=1&sig=x",
        },
    ],
)
def test_other_credentials_need_no_account_key(variables: dict[str, str]) -> None:
    config = load(None, azure(**variables))
    assert config.storage.azure
    assert not config.storage.azure.accountkey


@pytest.mark.parametrize(
    ("variables", "key", "todo"),
    [
        ({"CONTAINER": ""}, "container", "name the container"),
        ({"ACCOUNTNAME": ""}, "accountname", "name the storage account"),
        ({"ACCOUNTKEY": ""}, "accountkey", "credentials.type to default_credentials"),
        (
            {"CREDENTIALS": "{type: client_secret, clientid: c, secret: s}"},
            "credentials.tenantid",
            "need tenantid, clientid and secret",
        ),
    ],
)
def test_what_is_missing_is_named_with_what_to_do(
    variables: dict[str, str], key: str, todo: str
) -> None:
    message = error_of(None, azure(**variables))
    assert message.startswith(f"storage.azure.{key}: missing; ")
    assert todo in message


def test_a_token_is_not_sent_in_the_clear() -> None:
    token = {"CREDENTIALS": "{type: default_credentials}"}
    assert load(None, azure(SERVICEURL="https://a.example", **token)).storage.azure
    message = error_of(None, azure(SERVICEURL="http://a.example", **token))
    assert message == "storage.azure.serviceurl: credentials of type default_credentials need https"


@pytest.mark.parametrize(
    ("variables", "account", "address"),
    [
        ({}, "account", "https://account.blob.core.windows.net"),
        (
            {"REALM": "core.chinacloudapi.cn"},
            "account",
            "https://account.blob.core.chinacloudapi.cn",
        ),
        ({"SERVICEURL": "http://127.0.0.1:1/account"}, "account", "http://127.0.0.1:1/account"),
        ({"CONNECTIONSTRING": CONNECTION}, "images", "https://images.blob.core.windows.net"),
        (
            {"CONNECTIONSTRING": "BlobEndpoint=https://a.example;SharedAccessSignature=sig"},
            "",
            "https://a.example",
        ),
    ],
)
def test_a_container_says_where_it_is(
    variables: dict[str, str], account: str, address: str
) -> None:
    azure_ = load(None, azure(**variables)).storage.azure
    assert azure_
    assert (azure_.account, azure_.address) == (account, address)


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("ACCOUNTNAME", "my-account", "the name of a storage account"),
        ("ACCOUNTNAME", "a.example.org/", "the name of a storage account"),
        ("ACCOUNTKEY", "not base64!", "as the portal shows it, got ***"),
        ("ACCOUNTKEY", "***", "the secret itself"),
        ("CONTAINER", "My_Images", "the name of a container"),
        ("CONTAINER", "a--b", "the name of a container"),
        ("CONTAINER", "ab", "the name of a container"),
        (
            "CONNECTIONSTRING",
            "AccountName=account",
            "AccountKey=…, as the portal shows it, got ***",
        ),
        ("CONNECTIONSTRING", "AccountName=a;AccountKey=%", "as the portal shows it, got ***"),
        ("ROOTDIRECTORY", "a/../b", "a path in the container"),
        ("ROOTDIRECTORY", "a//b", "a path in the container"),
        ("REALM", "https://core.windows.net", "such as core.windows.net"),
        ("SERVICEURL", "account.example.org", "a URL"),
        ("MAX_RETRIES", "-2", "an integer of -1 to 100"),
        ("RETRY_DELAY", "100", "a duration with its unit"),
        ("SKIPVERIFY", "1", "true or false"),
        ("CREDENTIALS_TYPE", "default", "shared_key, client_secret or default_credentials"),
        ("MAXRETRIES", "3", "nearest known key: storage.azure.max_retries"),
    ],
)
def test_a_wrong_value_is_told_with_its_variable(variable: str, value: str, said: str) -> None:
    message = error_of(None, azure(**{variable: value}))
    assert f"REGISTRY_STORAGE_AZURE_{variable}" in message
    assert said in message


# The names of the older registry

OLDER = {
    "SETTINGS_FLAVOR": "azureblob",
    "AZURE_STORAGE_ACCOUNT_NAME": "account",
    "AZURE_STORAGE_ACCOUNT_KEY": KEY,
    "AZURE_STORAGE_CONTAINER": "images",
}


def test_the_older_registrys_variables_are_understood() -> None:
    config = load(None, OLDER)
    assert config.storage == load(None, azure()).storage
    assert config.renamed == {
        "SETTINGS_FLAVOR": "REGISTRY_STORAGE=azure",
        "AZURE_STORAGE_ACCOUNT_NAME": "REGISTRY_STORAGE_AZURE_ACCOUNTNAME",
        "AZURE_STORAGE_ACCOUNT_KEY": "REGISTRY_STORAGE_AZURE_ACCOUNTKEY",
        "AZURE_STORAGE_CONTAINER": "REGISTRY_STORAGE_AZURE_CONTAINER",
    }


def test_the_older_registrys_container_has_its_default() -> None:
    config = load(None, {k: v for k, v in OLDER.items() if not k.endswith("CONTAINER")})
    assert config.storage.azure
    assert config.storage.azure.container == "registry"


def test_an_older_variable_is_named_in_an_error() -> None:
    message = error_of(None, OLDER | {"AZURE_STORAGE_ACCOUNT_KEY": "not base64!"})
    assert message.startswith("storage.azure.accountkey (set by AZURE_STORAGE_ACCOUNT_KEY): ")


@pytest.mark.parametrize("flavor", ["local", "", "s3"])
def test_another_flavor_is_nothing(flavor: str) -> None:
    assert load(None, OLDER | {"SETTINGS_FLAVOR": flavor}) == Config()


def test_a_driver_of_today_wins_over_the_older_registrys_names(write: Any) -> None:
    config = load(write("version: 0.1\nstorage: filesystem\n"), OLDER)
    assert config.storage.azure is None
    assert config.ignored == ("SETTINGS_FLAVOR",)


def test_a_key_of_today_wins_over_its_older_name() -> None:
    config = load(None, OLDER | environment(STORAGE_AZURE_CONTAINER="newer"))
    assert config.storage.azure
    assert (config.storage.azure.container, config.storage.azure.account) == ("newer", "account")
    assert "AZURE_STORAGE_CONTAINER" not in config.renamed


def test_other_keys_of_the_storage_leave_the_older_names_in_force() -> None:
    config = load(None, OLDER | environment(STORAGE_DELETE_ENABLED="true"))
    assert config.storage.delete.enabled
    assert config.storage.azure


# The cache and redirects


def test_a_cache_has_its_defaults() -> None:
    storage = load(None, cache(PATH="/var/cache/fastreg")).storage
    assert storage.cache.path == Path("/var/cache/fastreg")
    assert storage.cache.maxsize == 0.8
    assert storage.cache.revalidate == timedelta(seconds=1)
    assert storage.cache.sampling == 0.01
    assert storage.cache.prefetch is False


@pytest.mark.parametrize(
    ("given", "disabled", "redirects"),
    [
        (azure(), "", True),
        (azure(), "true", False),
        (cache(PATH="/c"), "", False),
        (cache(PATH="/c"), "false", True),
        ({}, "false", False),
    ],
)
def test_clients_are_redirected_where_nothing_is_cached(
    given: dict[str, str], disabled: str, redirects: bool
) -> None:
    config = load(None, given | environment(STORAGE_REDIRECT_DISABLE=disabled))
    assert config.storage.redirects is redirects


def test_keys_for_azure_have_no_effect_on_a_directory(write: Any) -> None:
    text = """
        version: 0.1
        storage:
          filesystem:
          cache: {blobdescriptor: inmemory, path: /c, maxsize: 1GB}
          redirect: {disable: true}
    """
    assert load(write(text), {}).ignored == (
        "storage.cache.blobdescriptor",
        "storage.cache.maxsize",
        "storage.cache.path",
        "storage.redirect.disable",
    )


# What is shown


def test_what_is_dumped_of_a_container_hides_its_secrets_and_names_one_driver() -> None:
    given = cache(PATH="/c", MAXSIZE="1.5GiB") | environment(HTTP_SECRET="hunter2")
    given["REGISTRY_STORAGE_AZURE_CONNECTIONSTRING"] = CONNECTION
    given["REGISTRY_STORAGE_AZURE_CREDENTIALS_SECRET"] = "hunter2"
    dumped = dump(load(None, given))
    assert dumped["http"]["secret"] == "***"
    assert dumped["storage"]["azure"]["accountkey"] == "***"
    assert dumped["storage"]["azure"]["connectionstring"] == "***"
    assert dumped["storage"]["azure"]["credentials"]["secret"] == "***"
    assert dumped["storage"]["cache"]["maxsize"] == "1536MiB"
    assert "filesystem" not in dumped["storage"]


def test_what_is_dumped_loads_as_the_same_once_the_secrets_are_back(write: Any) -> None:
    config = load(None, cache(PATH="/c"))
    again = load(write(yaml.safe_dump(dump(config))), environment(STORAGE_AZURE_ACCOUNTKEY=KEY))
    assert again.storage == config.storage


def test_no_secret_is_in_what_python_shows_of_a_configuration() -> None:
    shown = repr(load(None, azure(CONNECTIONSTRING=CONNECTION)))
    assert "account" in shown
    assert KEY not in shown


@pytest.mark.parametrize(
    "variables",
    [
        {"AZURE_ACCOUNTKEY": f"[{KEY}]"},
        {"AZURE_ACCOUNTKEYS": KEY},
        {"AZURE_ACCOUNTKEY": KEY, "AZURE_ACCOUNTKEY_X": "y"},
        {"AZURE": f"{{accountkey: {KEY}"},
        {"AZURE_CONNECTION": CONNECTION},
        {"AZURE": CONNECTION},
    ],
)
def test_no_secret_is_in_an_error(variables: dict[str, str]) -> None:
    named = {f"STORAGE_{name}": value for name, value in variables.items()}
    assert KEY not in error_of(None, environment(**named))
