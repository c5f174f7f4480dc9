"""Which pair is meant: by configuration or by name."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from twinwatch.config.problem import ConfigError
from twinwatch.control.errors import NOT_CONFIGURED, ControlError
from twinwatch.linux.paths import Paths, locate

CONFIG_VARIABLE = "TWINWATCH_CONFIG"
PLACES = ("./twinwatch.yaml", "/etc/twinwatch/twinwatch.yaml")


@dataclass(frozen=True, slots=True)
class Target:
    paths: Paths
    config: str | None


def find(config: str | None, pair: str | None, environ: Mapping[str, str]) -> Target:
    """The pair that a command is about. A name needs no readable configuration.

    Raises:
        ControlError: neither is given and no configuration is found.
        ConfigError: the configuration has no usable pair name.
    """
    if pair is not None:
        return Target(locate(pair, environ), config)
    path = config or environ.get(CONFIG_VARIABLE) or next(filter(os.path.exists, PLACES), None)
    if path is None:
        raise ControlError(
            f"no configuration: name one with -c, set {CONFIG_VARIABLE}, or name a pair with -p",
            NOT_CONFIGURED,
        )
    return Target(locate(pair_name(path, environ), environ), path)


def pair_name(path: str, environ: Mapping[str, str]) -> str:
    """The pair's name, also from a configuration that has other errors: `down` must still work."""
    from twinwatch.config.load import load

    try:
        return load(path, environ).name
    except ConfigError:
        name = bare_name(path)
        if name is None:
            raise
        return name


def bare_name(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("pair:")]
    except (OSError, UnicodeDecodeError):  # any errno: the configuration's own error is shown
        return None
    return names[0] if len(names) == 1 and names[0].replace("-", "").replace("_", "").isalnum() else None
