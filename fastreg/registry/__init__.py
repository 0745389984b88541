"""The domain: repositories, blobs, manifests, tags. No HTTP, no sockets."""
