"""A container of a real Azurite, reached through the proxy, and past it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from azure.storage.blob import ContainerClient

from fastreg.storage.azure_client import AzureSettings
from tests.azurite import ACCOUNT, KEY, Azurite
from tests.faulty.proxy import FaultProxy


@dataclass(frozen=True)
class Cloud:
    proxy: FaultProxy
    settings: AzureSettings
    """They lead through the proxy."""
    container: ContainerClient
    """Leads past it."""

    @property
    def options(self) -> dict[str, str]:
        """The same settings as dotted keys of the configuration."""
        return {
            "storage.azure.accountname": ACCOUNT,
            "storage.azure.accountkey": KEY,
            "storage.azure.container": self.settings.container,
            "storage.azure.serviceurl": self.proxy.url,
            "storage.azure.retry_delay": f"{self.settings.retry_delay_s * 1000:.0f}ms",
        }

    def read(self, key: str) -> bytes:
        """What the account has under the key."""
        return bytes(self.container.download_blob(key).readall())

    def has(self, key: str) -> bool:
        return bool(self.container.get_blob_client(key).exists())

    @property
    def keys(self) -> list[str]:
        return [blob.name for blob in self.container.list_blobs()]

    def digests(self) -> set[str]:
        """Return the digest of every blob there; each must be what its name says."""
        found = set()
        for key in self.keys:
            if key.endswith("/data") and "/v2/blobs/" in key:
                _, algorithm, _, hexdigest, _ = key.rsplit("/", 4)
                assert hashlib.new(algorithm, self.read(key)).hexdigest() == hexdigest, key
                found.add(f"{algorithm}:{hexdigest}")
        return found


@contextmanager
def cloud_over(azurite: Azurite, max_retries: int = 4) -> Iterator[Cloud]:
    """A new container, with a proxy of its own before it."""
    with FaultProxy(azurite.service_url) as proxy:
        settings = azurite.new_container(retry_delay_s=0.01, max_retries=max_retries)
        past = f"{azurite.service_url}/{settings.container}"
        with ContainerClient.from_container_url(past, KEY) as container:
            settings = replace(settings, service_url=proxy.url)
            yield Cloud(proxy, settings, container)
