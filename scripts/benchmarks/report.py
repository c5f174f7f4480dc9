"""From what was measured to tables: the text between the marks of docs/performance.md."""

import json
import statistics
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from operator import itemgetter
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- measured by scripts/bench -->", "<!-- end of measured -->"
LIMIT_ONE, LIMIT_MANY, OWN, OLD = "c-one", "c-many", "twinwatch", "supervisor"
NONE = "–"
BY_WORKERS = "CDE"  # each row is of one guard with so many workers
Found = dict[str, Any]


def load(path: Path) -> Found:
    """What `save` wrote."""
    return json.loads(path.read_text(encoding="utf-8"))


def save(found: Found, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def merged(old: Found, new: Found) -> Found:
    """`old` with the measures that `new` has; when these were measured stands in `later`.

    Of C, D and E a row is replaced by one of the same guard with as many workers; others stay.
    """
    letters = [letter for letter, rows in new["rows"].items() if rows]
    about = {"machine": new["machine"], "form": new["settings"]["name"], "seconds": new["seconds"]}
    rows = {letter: _kept(old, new, letter) + new["rows"][letter] for letter in letters}
    replaced = [letter for letter in letters if rows[letter] == new["rows"][letter]]
    over = tuple(f"{letter}:" for letter in replaced) + tuple(_troubles_of(new, letters))
    troubles = [one for one in old["troubles"] if not one.startswith(over)] + new["troubles"]
    return {
        **old,
        "rows": {**old["rows"], **rows},
        "peers": {**old["peers"], **new["peers"]},
        "troubles": troubles,
        "later": {
            **old.get("later", {}),
            **{letter: {**about, "in_part": letter not in replaced} for letter in letters},
        },
    }


def _troubles_of(found: Found, letters: Iterable[str]) -> Iterator[str]:
    """How a trouble begins with what was measured now."""
    for letter in letters:
        for row in found["rows"][letter] if letter in BY_WORKERS else ():
            title = found["peers"][row["peer"]]["title"]
            yield f"{letter}: {title}, {row['variant']}, {row['workers']} workers:"


def _kept(old: Found, new: Found, letter: str) -> list[Found]:
    """Rows of `old` that are not measured anew."""
    if letter not in BY_WORKERS:
        return []
    key = itemgetter("peer", "variant", "workers")
    measured = {key(row) for row in new["rows"][letter]}
    return [row for row in old["rows"].get(letter, ()) if key(row) not in measured]


def put(text: str, document: Path) -> None:
    """Between the marks of the document, and nowhere else."""
    before, mark, rest = document.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not mark or not end:
        sys.exit(f"bench: {document} has no place between {BEGIN} and {END}")
    document.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}", encoding="utf-8")


# ---------------------------------------------------------------- figures


def ms(ns: float) -> str:
    """Milliseconds, three digits that matter."""
    value = ns / 1e6
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that `share` of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


def ratio(part: float, whole: float) -> str:
    if not whole:
        return NONE
    value = part / whole
    return f"{value:.2f} ×" if value < 10 else f"{value:.0f} ×"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def configurations(found: Found, letter: str) -> list[tuple[str, str]]:
    """(peer, variant) of which there are rows, in the order of the catalogue."""
    present = {(row["peer"], row["variant"]) for row in found["rows"][letter]}
    return [
        (key, variant)
        for key, peer in found["peers"].items()
        for variant in peer["variants"]
        if (key, variant) in present
    ]


def name(found: Found, key: str, variant: str) -> str:
    peer = found["peers"][key]
    if len(peer["variants"]) == 1:
        return peer["title"]
    return f"{peer['title']}, {variant}"


def rows_of(found: Found, letter: str, **wanted: object) -> list[Found]:
    return [row for row in found["rows"][letter] if all(row[key] == value for key, value in wanted.items())]


def samples(found: Found, letter: str, **wanted: object) -> list[int]:
    return [value for row in rows_of(found, letter, **wanted) for value in row["ns"]]


# ---------------------------------------------------------------- A and B


def to_limit(found: Found, letter: str, key: str, variant: str) -> float | None:
    """Ratio of medians to the limit measured just before and just after; the median of all rounds."""
    rows, ratios = found["rows"][letter], []
    for place, row in enumerate(rows):
        if (row["peer"], row["variant"]) != (key, variant) or not row["ns"]:
            continue
        before = [other["ns"] for other in rows[:place] if other["peer"] == LIMIT_ONE][-1:]
        after = [other["ns"] for other in rows[place + 1 :] if other["peer"] == LIMIT_ONE][:1]
        beside = [value for values in (*before, *after) for value in values]
        if beside:
            ratios.append(statistics.median(row["ns"]) / statistics.median(beside))
    return statistics.median(ratios) if ratios else None


def single(found: Found, letter: str) -> str:
    """Restarts of one worker."""
    lines = []
    for key, variant in configurations(found, letter):
        rows = rows_of(found, letter, peer=key, variant=variant)
        values = [value for row in rows for value in row["ns"]]
        if not values:
            continue
        rounds = [statistics.median(row["ns"]) for row in rows if row["ns"]]
        median, against = statistics.median(values), to_limit(found, letter, key, variant)
        lines.append(
            (
                name(found, key, variant),
                str(len(values)),
                ms(median),
                f"{ms(min(rounds))} to {ms(max(rounds))}",
                ms(quantile(values, 0.99)),
                ms(max(values)),
                NONE if key == LIMIT_ONE or against is None else ratio(against, 1),
            )
        )
    heads = ("", "kills", "median, ms", "medians of the rounds", "p99", "max", "to the C loop")
    return table(heads, lines)


# ---------------------------------------------------------------- C, D, E


def crowds(found: Found) -> str:
    lines = []
    limit = {
        count: statistics.median(
            [row["last_ns"] for row in rows_of(found, "C", peer=LIMIT_MANY, workers=count)]
        )
        for count in {row["workers"] for row in rows_of(found, "C", peer=LIMIT_MANY)}
    }
    for key, variant in configurations(found, "C"):
        for count in sorted({row["workers"] for row in rows_of(found, "C", peer=key, variant=variant)}):
            rows = rows_of(found, "C", peer=key, variant=variant, workers=count)
            last = statistics.median([row["last_ns"] for row in rows])
            lines.append(
                (
                    name(found, key, variant),
                    str(count),
                    ms(statistics.median([row["start_ns"] for row in rows])),
                    ms(statistics.median([row["median_ns"] for row in rows])),
                    ms(last),
                    ratio(last, limit.get(count, 0)),
                )
            )
    heads = ("", "workers", "start of all, ms", "half of them back", "all back", "all back, to the C loop")
    return table(heads, lines)


def idle(found: Found) -> str:
    lines = []
    for key, variant in configurations(found, "D"):
        for row in rows_of(found, "D", peer=key, variant=variant):
            old = rows_of(found, "D", peer=OLD, variant=variant, workers=row["workers"])
            against = [
                ratio(row[what], old[0][what]) if old else NONE for what in ("cpu_ns", "wakeups", "pss")
            ]
            per_second = (row["cpu_ns"] / 1e6 / row["seconds"], row["wakeups"] / row["seconds"])
            lines.append(
                (
                    name(found, key, variant),
                    str(row["workers"]),
                    f"{per_second[0]:.3f}",
                    f"{per_second[1]:.1f}",
                    f"{row['pss'] / 2**20:.1f}",
                    str(row["processes"]),
                    " / ".join(against),
                )
            )
    heads = (
        *("", "workers", "CPU, ms a second", "wake-ups a second", "PSS, MiB", "processes"),
        "to supervisor: CPU / wake-ups / PSS",
    )
    return table(heads, lines)


def sizes(found: Found) -> str:
    counts = sorted({row["workers"] for row in found["rows"]["E"]})
    lines = []
    for key, variant in configurations(found, "E"):
        medians = {
            count: statistics.median(values)
            for count in counts
            if (values := samples(found, "E", peer=key, variant=variant, workers=count))
        }
        if medians:
            small, large = medians[min(medians)], medians[max(medians)]
            cells = [ms(medians[count]) if count in medians else NONE for count in counts]
            grown = ratio(large, small) if len(medians) > 1 else NONE
            lines.append((name(found, key, variant), *cells, grown))
    return table(("median, ms, with", *map(str, counts), "most to fewest"), lines)


# ---------------------------------------------------------------- F, G, H


def successions(found: Found) -> str:
    rows = found["rows"]["F"]
    spans = {
        "killed → dead (its pidfd is readable)": [row["died"] for row in rows],
        "killed → slot filled": [row["filled"] for row in rows],
        "dead → slot filled": [row["filled"] - row["died"] for row in rows],
        "killed → the successor watches": [row["watching"] for row in rows],
    }
    lines = [
        (what, str(len(values)), ms(statistics.median(values)), ms(quantile(values, 0.99)), ms(max(values)))
        for what, values in spans.items()
    ]
    return table(("", "kills", "median, ms", "p99", "max"), lines)


def cost_a_second(cost: Found, seconds: float) -> str:
    cpu_ms, wakeups = cost["cpu_ns"] / 1e6 / seconds, cost["wakeups"] / seconds
    return f"{cpu_ms:.2f} ms of CPU, {wakeups:.0f} wake-ups a second"


def heartbeats(found: Found) -> str:
    (row,) = found["rows"]["G"]
    empty, beat = (statistics.median(row["calls"][what]) for what in ("empty", "beat"))
    judging = row["judging"]
    judged, unjudged, seconds = judging["judged"], judging["unjudged"], judging["seconds"]
    lines = [
        ("a beat in Python", f"{beat:.0f} ns; a method that does nothing: {empty:.0f} ns"),
        *(
            (
                f"{judging['workers']} workers at {judging['hz']} Hz, {what}",
                cost_a_second(cost, seconds),
            )
            for what, cost in (("unjudged", unjudged), ("judged", judged))
        ),
    ]
    return table(("", "cost"), lines)


def copies(found: Found) -> str:
    lines = [
        (
            found["peers"][row["peer"]]["title"],
            str(row["killed"]),
            str(row["workers"]),
            str(row["living"]),
            "no" if row["most"] <= 1 else f"yes, {row['most']} of one",
        )
        for row in found["rows"]["H"]
        if found["peers"][row["peer"]]["kind"] != "PID 1"
    ]
    heads = ("", "processes killed", "workers wanted", "alive afterwards", "duplicated")
    return f"{table(heads, lines)}\n\nWhat is PID 1 cannot be killed, and is left out."


def steps(found: Found) -> str:
    """Two columns for each way of striking: the step, and the sum so far."""
    rows = found["rows"]["P"]
    heads, columns = [""], [[row["step"] for row in rows]]
    for pause in rows[0]["ns"] if rows else ():
        steps_us = [row["ns"][pause] / 1000 for row in rows]
        heads += [f"{pause}: median, µs", "sum"]
        columns += [[f"{us:.0f}" for us in part] for part in (steps_us, accumulate(steps_us))]
    return table(heads, zip(*columns, strict=True))


def calls(found: Found) -> str:
    lines = [
        (
            row["way"],
            str(len(row["calls"])),
            ", ".join(f"{call} {times}" for call, times in Counter(row["calls"]).most_common()),
        )
        for row in found["rows"]["S"]
    ]
    return table(("", "calls", "of these"), lines)


# ---------------------------------------------------------------- the whole


def targets(found: Found) -> str:
    """The targets that the project has set itself, and what came of each."""
    lines = []

    def add(what: str, target: str, value: float | None, limit: float, shown: str = "") -> None:
        if value is not None:
            said = shown or f"{value:.2f}"
            lines.append((what, target, said, "met" if value <= limit else "**missed**"))

    add("A, as shipped", "≤ 1.5 × the C loop", to_limit(found, "A", OWN, "shipped"), 1.5)
    again = samples(found, "B", peer=OWN, variant="shipped")
    if again:
        worst = max(again)
        add("B, as shipped", "no forced pause (≤ 50 ms at worst)", worst / 1e6, 50, f"{ms(worst)} ms")
    for count in sorted({row["workers"] for row in found["rows"]["C"]}):
        last = {
            key: [row["last_ns"] for row in rows_of(found, "C", peer=key, workers=count)]
            for key in (OWN, LIMIT_MANY)
        }
        if all(last.values()):
            add(
                f"C, {count} workers, the better configuration",
                "≤ 2 × the C loop",
                min(last[OWN]) / statistics.median(last[LIMIT_MANY]),
                2,
            )
    lines += list(idle_targets(found))
    by_size = {
        row["workers"]: statistics.median(row["ns"]) for row in rows_of(found, "E", peer=OWN) if row["ns"]
    }
    if by_size:
        most, fewest = max(by_size), min(by_size)
        add(
            f"E, {most} workers to {fewest}",
            "≤ 1.3",
            by_size[most] / by_size[fewest],
            1.3,
        )
    filled = [row["filled"] - row["died"] for row in found["rows"]["F"]]
    if filled:
        median = statistics.median(filled)
        add("F, dead → filled, median", "≤ 0.5 ms", median / 1e6, 0.5, f"{ms(median)} ms")
    for row in rows_of(found, "H", peer=OWN):
        add("H, copies of one worker", "1", row["most"], 1, str(row["most"]))
    return table(("measure", "target", "measured", ""), lines)


def idle_targets(found: Found) -> Iterable[tuple[str, str, str, str]]:
    """(D) Against supervisor as shipped."""
    for what, factor, words in (("cpu_ns", 1.0, "CPU"), ("wakeups", 1.0, "wake-ups"), ("pss", 1.5, "PSS")):
        for row in rows_of(found, "D", peer=OWN, variant="shipped"):
            for old in rows_of(found, "D", peer=OLD, variant="shipped", workers=row["workers"]):
                value = row[what] / old[what] if old[what] else 0.0
                verdict = "met" if value <= factor else "**missed**"
                target = f"≤ {factor:g} × supervisor"
                yield f"D, {words}, {row['workers']} workers, as shipped", target, f"{value:.2f}", verdict


def peers(found: Found) -> str:
    lines = [
        (peer["title"], peer["version"] or NONE, peer["kind"], variant, said or NONE)
        for peer in found["peers"].values()
        for variant, said in peer["variants"].items()
    ]
    text = table(("", "version", "guards by", "configuration", "which"), lines)
    for peer in found["peers"].values():
        for variant, why in peer["unmeasured"].items():
            text += f"\n\nOnly D and H were measured of {peer['title']}, {variant}: {why}."
    for title, reason in found["absent"].items():
        text += f"\n\nNot measured: **{title}**: {reason}."
    return text


def render(found: Found) -> str:
    """Markdown, from `load`'s or a session's result."""
    machine, settings = found["machine"], found["settings"]
    head = (
        f"Linux {machine['linux']}, {machine['system']}, CPython {machine['python']}, "
        f"{machine['processors']} processors; load {machine['load_at_end']:.1f} at the end; "
        f"{settings['name']} form, {found['seconds']} s."
    )
    for letter, about in found.get("later", {}).items():
        load = about["machine"]["load_at_end"]
        what = f"A part of {letter}" if about.get("in_part") else letter
        head += f" {what} was measured later ({about['form']} form, {about['seconds']} s, load {load:.1f})."
    sections: list[tuple[str, str, str]] = [
        ("A", "A: one worker killed", single(found, "A")),
        ("B", "B: killed again at once", single(found, "B")),
        ("C", "C: all killed at one instant", crowds(found)),
        ("D", "D: while nothing happens", idle(found)),
        ("E", "E: with more workers", sizes(found)),
        ("F", "F: a twin killed", successions(found) if found["rows"]["F"] else ""),
        ("G", "G: heartbeats", heartbeats(found) if found["rows"]["G"] else ""),
        ("H", "H: the guard killed", copies(found)),
        ("P", "P: where the time between a death and the next program goes", steps(found)),
        ("S", "S: system calls between a death and the next program", calls(found)),
    ]
    parts = [head, "### Targets\n\n" + targets(found)]
    parts += [f"### {title}\n\n{text}" for letter, title, text in sections if found["rows"][letter]]
    parts.append("### Who took part\n\n" + peers(found))
    if found["troubles"]:
        listed = "\n".join(f"- {trouble}" for trouble in found["troubles"])
        parts.append(f"### What failed\n\n{listed}")
    return "\n\n".join(parts) + "\n"
