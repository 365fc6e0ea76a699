"""One TOML file -> typed settings: `load(path, sections)`. Mistakes are sentences with the dotted key.

load        reads the file
section     what a section is made of: fields with `key(...)`
settings    the sections that every process knows; those of kinds are in their `config.py`
values      durations, sizes, addresses
meaning     values that contradict each other
keys        every key: name, type, default, meaning
explain     one key, for `config explain`; describe: the settings in force, without secrets
"""

from lae_monitor.config.load import DEFAULT_PATH, PATH_VARIABLE, ConfigError, is_like_ours, load
from lae_monitor.config.section import Section, key
from lae_monitor.config.settings import Settings
from lae_monitor.config.values import Duration, Kept, Listen, Room, Share, Size

__all__ = [
    "DEFAULT_PATH",
    "PATH_VARIABLE",
    "ConfigError",
    "Duration",
    "Kept",
    "Listen",
    "Room",
    "Section",
    "Settings",
    "Share",
    "Size",
    "is_like_ours",
    "key",
    "load",
]
