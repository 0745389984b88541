"""Deterministic images like real ones: what a registry is loaded with."""

from loadtests.images.catalog import NAMES, catalog
from loadtests.images.image import Image, Manifest, image_with
from loadtests.images.layers import Blob

__all__ = ["NAMES", "Blob", "Image", "Manifest", "catalog", "image_with"]
