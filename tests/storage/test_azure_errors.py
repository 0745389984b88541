"""What is said about Azure's failures, and what is not."""

from __future__ import annotations

import pytest

from fastreg.storage.azure_client import AzureSettings, prepare
from fastreg.storage.errors import StorageError


def test_a_failure_to_reach_azure_is_told_by_its_origin_and_shows_no_signature() -> None:
    signed = "BlobEndpoint=http://127.0.0.1:1/a;SharedAccessSignature=sv=2022&sig=hunter2"
    settings = AzureSettings("", "images", connection_string=signed, max_retries=0)
    with pytest.raises(StorageError) as caught:
        prepare(settings)
    assert caught.value.reason == "127.0.0.1:1 cannot be reached: Connection refused"
    assert "hunter2" not in str(caught.value)
