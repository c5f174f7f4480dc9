"""A chaos run as one page for people: the verdict, how to repeat it, figures, pictures, what was left out.

The page needs nothing but itself: styles and pictures are in it, there is no script, and it follows the
reader's light or dark setting. Needs matplotlib: the extra `report`.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from twinwatch.chaos import canvas, pictures
from twinwatch.chaos.judge import TITLES
from twinwatch.chaos.measures import quantile

Document = Mapping[str, Any]

FILE = "report.html"
GAP_EDGES_MS = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0)
GAPPED = ("kill-both", "kill-watchers", "kill-by-name")  # between two kills of those who guard


def write(result: Document, directory: str) -> str:
    """Write the page of a chaos result (schema 1, docs/chaos.md) into an existing directory; its path."""
    path = os.path.join(directory, FILE)
    with open(path, "w", encoding="utf-8") as file:
        file.write(render(result))
    return path


def render(result: Document) -> str:
    """The page as HTML text."""
    word, sentence = verdict(result)
    title = f"twinwatch chaos: {word.lower()}"
    parts = (
        _head(word, sentence, is_broken=bool(result["broken"])),
        _broken(result),
        _section(
            "To repeat it", f"<pre><code>{escape(result['command'])}</code></pre><p>{_course(result)}</p>"
        ),
        _section("Faults", _fault_table(result)),
        _section("When", _figure(pictures.timeline(result), "timeline")),
        _section("How soon", _figure(pictures.recovery(result), "recovery")),
        _survival(result["events"]),
        _left_out(result["faults"]),
        _crashes(result.get("crashes", ())),
    )
    body = "\n".join(part for part in parts if part)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="color-scheme" content="light dark">\n<title>{escape(title)}</title>\n'
        f"<style>{_CSS}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def verdict(result: Document) -> tuple[str, str]:
    """One word, and what it rests on."""
    events, broken = result["events"], result["broken"]
    faults = _count(len(events), "fault")
    if broken:
        names = sorted({_promise(entry) for entry in broken})
        times = _count(len(broken), "time")
        return "Broke", f"{', '.join(names)}: {times}, in {faults} against pair {result['pair']}."
    if not events:
        return "Nothing shown", f"No fault was injected into pair {result['pair']}, so nothing could break."
    extinct = sum(event["outcome"] == "extinct" for event in events)
    beyond = f" After {extinct} of them no guard was left; the run started the pair again." if extinct else ""
    return "Kept", f"Every promise held through {faults} against pair {result['pair']}.{beyond}"


def survival_document(events: Iterable[Document]) -> dict[str, Any]:
    """Kills of guards with a gap between them, as curves of a survival document: one for each kind of fault.

    A point is a bucket of gaps that holds at least one event; its gap is the median of theirs. What had to be
    revived did not survive.
    """
    gapped = [event for event in events if event["fault"] in GAPPED and event["gap_ms"] is not None]
    curves = []
    for fault in sorted({event["fault"] for event in gapped}):
        buckets: dict[int, list[Document]] = {}
        for event in gapped:
            if event["fault"] == fault:
                place = sum(event["gap_ms"] >= edge for edge in GAP_EDGES_MS)
                buckets.setdefault(place, []).append(event)
        points = [_point(bucket) for _, bucket in sorted(buckets.items())]
        curves.append({"id": fault, "title": fault, "points": points})
    return {"schema": 1, "curves": curves, "atomic": []}


def _point(bucket: Sequence[Document]) -> dict[str, Any]:
    gaps = sorted(event["gap_ms"] for event in bucket)
    survived = sum(event["outcome"] == "recovered" and not event["revived"] for event in bucket)
    return {"gap_ms": quantile(gaps, 0.5), "trials": len(bucket), "survived": survived}


# ---------------------------------------------------------------- sections


def _head(word: str, sentence: str, *, is_broken: bool) -> str:
    kind = ' class="broke"' if is_broken else ""
    return f"<header{kind}><h1>{word}</h1><p>{escape(sentence)}</p></header>"


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>\n{content}\n</section>"


def _broken(result: Document) -> str:
    if not result["broken"]:
        return ""
    rows = [(f"{entry['at_s']:.3f} s", _promise(entry), entry["what"]) for entry in result["broken"]]
    evidence = "".join(
        f"<details><summary>{escape(name)}</summary><pre><code>{escape(chr(10).join(lines))}</code></pre></details>"
        for name, lines in result.get("evidence", {}).items()
    )
    return _section("What broke", _table(("at", "promise", "what was seen"), rows, "rtt") + evidence)


def _promise(entry: Document) -> str:
    """`P1 exactly once`."""
    title = entry.get("title") or TITLES.get(entry["promise"], "")
    return f"{entry['promise']} {title}".rstrip()


def _course(result: Document) -> str:
    settings, machine = result["settings"], result["machine"]
    model = f" ({machine['model']})" if machine.get("model") else ""
    return escape(
        f"Seed {result['seed']}, {result['duration_s']:.0f} s. "
        f"The pair: interval {settings['interval_s']:g} s, timeout {settings['timeout_s']:g} s, "
        f"{_count(settings['reserve'], 'reserve')} for each watcher. "
        f"The machine: Linux {machine['kernel']}, Python {machine['python']}, "
        f"{_count(machine['cpus'], 'processor')}{model}. "
        "The same seed draws the same faults; how long each takes is the machine's."
    )


def _fault_table(result: Document) -> str:
    names = sorted({event["fault"] for event in result["events"]})
    if not names:
        return "<p>None was injected.</p>"
    rows = []
    for name in names:
        mine = [event for event in result["events"] if event["fault"] == name]
        counts = [sum(event["outcome"] == outcome for event in mine) for outcome in _OUTCOMES]
        spreads = [result["summary"].get(name, {}).get(key) for key in ("again_ms", "whole_ms")]
        times = [_milliseconds(spread, key) for spread in spreads for key in ("median", "p95", "max")]
        rows.append((name, str(len(mine)), *(str(count or "–") for count in counts), *times))
    spans = (("", 2), ("outcome", 3), ("runs again, ms", 3), ("whole again, ms", 3))
    columns = ("fault", "count", *_OUTCOMES, *("median", "95 %", "worst") * 2)
    return _table(columns, rows, "t" + "r" * 10, spans) + f"<p>{_WHEN}</p>"


_OUTCOMES = ("recovered", "extinct", "broken")
_WHEN = (
    "Runs again: from the fault until what was killed has a successor. Whole again: until the pair could "
    "lose as much once more; where something was held (stopped, frozen, limited), from when it was let go. "
    "Extinct: no guard was left; the run started the pair again, and its workers were adopted."
)


def _milliseconds(spread: Mapping[str, float] | None, key: str) -> str:
    return f"{spread[key]:.1f}" if spread else "–"


def _survival(events: Sequence[Document]) -> str:
    document = survival_document(events)
    if not document["curves"]:
        return ""
    told = []
    for curve in document["curves"]:
        trials, survived = (sum(point[key] for point in curve["points"]) for key in ("trials", "survived"))
        told.append(f"{curve['title']} {survived} of {trials}")
    text = (
        f"The pair came back by itself: {', '.join(told)}. "
        "A point stands for the faults whose gap was near it; bands are Wilson's 95 %."
    )
    figure = _figure(pictures.survival(document), "survival")
    columns = ("fault", "gap, ms", "trials", "came back")
    rows = [
        (curve["title"], f"{point['gap_ms']:.2f}", str(point["trials"]), str(point["survived"]))
        for curve in document["curves"]
        for point in curve["points"]
    ]
    counts = f"<details><summary>The counts</summary>{_table(columns, rows, 'trrr')}</details>"
    return _section("Two kills and the gap between them", f"<p>{escape(text)}</p>{figure}{counts}")


def _left_out(faults: Iterable[Document]) -> str:
    rows = [
        (fault["name"], fault["why"] or "no reason was given") for fault in faults if not fault["available"]
    ]
    if not rows:
        return ""
    return _section("What this machine could not do", _table(("fault", "why"), rows, "tt"))


def _crashes(crashes: Sequence[str]) -> str:
    """Watchers that ended by an error of their own: their twin is the cure, and it is worth a look."""
    if not crashes:
        return ""
    items = "".join(f"<li><code>{escape(crash)}</code></li>" for crash in crashes)
    return _section("Watchers that crashed and were replaced", f"<ul>{items}</ul>")


# ---------------------------------------------------------------- pieces of HTML


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}".replace(",", "\u2009")


def _figure(svg: str, name: str) -> str:
    return f"<figure>{canvas.inline(svg, name)}</figure>"


def _table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    kinds: str,
    groups: Sequence[tuple[str, int]] = (),
) -> str:
    """`kinds` has a letter for each column: `t` text, `r` a number, set flush right."""
    marks = ["" if kind == "t" else ' class="n"' for kind in kinds]

    def line(tag: str, cells: Sequence[str]) -> str:
        filled = (f"<{tag}{mark}>{escape(cell)}</{tag}>" for mark, cell in zip(marks, cells, strict=True))
        return f"<tr>{''.join(filled)}</tr>"

    above = "".join(f'<th class="g" colspan="{width}">{escape(name)}</th>' for name, width in groups)
    head = (f"<tr>{above}</tr>" if above else "") + line("th", columns)
    body = "\n".join(line("td", row) for row in rows)
    return f'<div class="wide"><table><thead>{head}</thead>\n<tbody>{body}</tbody></table></div>'


_CSS = """
:root{color-scheme:light dark;--page:#fff;--ink:#1f2328;--soft:#656d76;--rule:#d5dae0;--box:#f5f7f9;
--kept:#2c7a4b;--broke:#c0323e}
@media (prefers-color-scheme:dark){:root{--page:#0f1318;--ink:#e2e6ea;--soft:#9aa3ad;--rule:#2f363e;
--box:#171c22;--kept:#57b97c;--broke:#ef6b74}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:56rem;margin:0 auto;padding:2rem 1.25rem 4rem}
header{border-left:.35rem solid var(--kept);padding:.1rem 0 .1rem 1rem}
header.broke{border-color:var(--broke)}
h1{margin:0;font-size:2rem;line-height:1.2;color:var(--kept)}
.broke h1{color:var(--broke)}
header p{margin:.3rem 0 0;font-size:1.05rem}
h2{margin:2.4rem 0 .6rem;font-size:1.15rem}
section>p,details{color:var(--soft)}
pre{margin:0;padding:.7rem 1rem;background:var(--box);border:1px solid var(--rule);border-radius:.4rem;
white-space:pre-wrap;overflow-wrap:anywhere}
code{font:.9rem/1.45 ui-monospace,"DejaVu Sans Mono",Menlo,Consolas,monospace}
figure{margin:.4rem 0}
figure svg{display:block;width:100%;height:auto}
.wide{overflow-x:auto}
table{border-collapse:collapse;font-size:.92rem;font-variant-numeric:tabular-nums}
th{font-weight:600;color:var(--soft);text-align:left;vertical-align:bottom}
th,td{padding:.25rem .75rem .25rem 0;border-bottom:1px solid var(--rule);vertical-align:top}
td:first-child{white-space:nowrap}
.n{text-align:right;white-space:nowrap}
.g{border:0;text-align:right;font-weight:400}
summary{cursor:pointer}
@media print{main{max-width:none}table{font-size:.72rem}figure,tr{break-inside:avoid}}
"""
