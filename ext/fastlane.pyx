"""The C core, bound to Python. What each call guarantees is written in fastlane.pyi."""

include "digest.pxi"
include "transfer.pxi"
