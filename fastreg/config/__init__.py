"""Configuration: the reference registry's YAML and environment, as a checked model."""

from fastreg.config.model import Config, dump, known_keys, load
from fastreg.config.source import PATH_VARIABLE
from fastreg.config.values import ConfigError

__all__ = ["PATH_VARIABLE", "Config", "ConfigError", "dump", "known_keys", "load"]
