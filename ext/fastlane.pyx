"""The C core, bound to Python. What each call guarantees is written in fastlane.pyi."""

import os

from libc.errno cimport errno

include "digest.pxi"
include "transfer.pxi"
include "lane.pxi"
