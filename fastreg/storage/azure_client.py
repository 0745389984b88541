"""The connection to a storage account: which one, with which credentials, how patiently."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class AzureSettings:
    """What of the configuration decides where objects are, and who asks for them."""

    account_name: str
    container: str
    account_key: str = ""
    """Base64; with the credentials `shared_key`."""
    connection_string: str = ""
    """Where given, it says account, key and addresses."""
    credentials: Literal["shared_key", "client_secret", "default_credentials"] = "shared_key"
    client_id: str = ""
    tenant_id: str = ""
    secret: str = ""
    root_directory: str = ""
    """Stands before every key."""
    realm: str = "core.windows.net"
    service_url: str = ""
    """Of the account's blob service; empty: from the account's name and the realm."""
    max_retries: int = 5
    retry_delay_s: float = 0.1
    """Before the first retry; doubled for each."""
    verify_tls: bool = True
