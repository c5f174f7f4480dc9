"""A configuration file, read and checked whole."""

import os
from collections.abc import Mapping
from dataclasses import replace

from twinwatch.config.pair import read_pair
from twinwatch.config.problem import ConfigError, Problem, Report
from twinwatch.config.source import read_source
from twinwatch.config.tree import parse
from twinwatch.core.spec import PairSpec

__all__ = ["ConfigError", "Problem", "load"]


def load(path: str, environ: Mapping[str, str]) -> PairSpec:
    """The configuration in a file, not yet published: generation 0, no places.

    `environ` is what workers inherit. Raises ConfigError with all problems at once.
    """
    source = read_source(path)
    report = Report(path)
    folder = os.path.dirname(source.path)
    spec = read_pair(parse(source.data, report), folder, environ.get("PATH", os.defpath), report)
    report.raise_if_any()
    return replace(
        spec,
        source=source.path,
        source_device=source.device,
        source_inode=source.inode,
        digest=source.digest,
        environment=tuple(sorted(environ.items())),
    )
