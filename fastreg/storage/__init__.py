"""Storage drivers: bytes under keys, and what each guarantees."""
