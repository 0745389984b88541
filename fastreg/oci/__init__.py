"""OCI values: pure, no I/O."""
