"""One thing that was looked at."""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    OK = "ok"
    DEGRADED = "degraded"  # there, but less than it could be
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Finding:
    """`cost`: what is lost; `advice`: what to do. Both empty where all is well."""

    name: str
    verdict: Verdict
    found: str
    cost: str = ""
    advice: str = ""
    is_required: bool = False  # no pair can live without it

    @property
    def is_fatal(self) -> bool:
        return self.is_required and self.verdict is not Verdict.OK


def has(name: str, *, given: bool, since: str, cost: str, is_required: bool = False) -> Finding:
    """A kernel feature, or its absence; `since`: the Linux version that brought it."""
    if given:
        return Finding(name, Verdict.OK, "yes", is_required=is_required)
    advice = f"Linux {since} has it, unless a sandbox forbids it"
    return Finding(name, Verdict.MISSING, "no", cost, advice, is_required)
