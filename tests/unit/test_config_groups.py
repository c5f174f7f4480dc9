"""`groups` and `alerts`: what they become, and every mistake in them."""

import importlib.util

import pytest
from config_place import Place, cases

from twinwatch.core.news import KINDS
from twinwatch.core.spec import Alert, Group, Limit, Strategy
from twinwatch.core.timing import SECOND_NS

WORKERS = "workers:\n  db: {command: sh}\n  app: {command: sh, depends_on: [db]}\n  web: {command: sh}\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Place:
    return Place(tmp_path_factory.mktemp("config"))


def load(place: Place, rest: str):
    return place.load(f"pair: p\n{WORKERS}{rest}\n")


# --- groups


def test_a_group(place):
    spec = load(place, "groups: {all-of-it: {workers: [web, db]}}")
    assert spec.groups == (Group("all-of-it", ("web", "db"), Strategy.ONE_FOR_ONE),)
    assert [worker.depends_on for worker in spec.workers] == [(), ("db",), ()]


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE])
def test_members_that_end_together_start_in_order(place, strategy):
    keys = f"{{workers: [db, app, web], strategy: {strategy}, limit: {{restarts: 3, within: 5s}}}}"
    spec = load(place, f"groups: {{g: {keys}}}")
    assert spec.groups == (Group("g", ("db", "app", "web"), strategy, Limit(3, 5 * SECOND_NS)),)
    assert [worker.depends_on for worker in spec.workers] == [(), ("db",), ("app",)]


def test_two_groups(place):
    spec = load(place, "groups: {x: {workers: [web, db], strategy: one_for_all}, y: {workers: [app]}}")
    assert [group.name for group in spec.groups] == ["x", "y"]
    assert [worker.depends_on for worker in spec.workers] == [("web",), ("db",), ()]


# --- alerts


def test_alerts(place):
    program = place.folder / "tell"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    spec = load(
        place,
        """alerts:
  - {on: [fatal, unhealthy, fatal], workers: [web], exec: [sh, -c, x], interval: 1h, timeout: 5s, retries: 0}
  - on: twin-lost
    webhook: "https://example.com/hook?x=y"
    headers: {Authorization: Bearer abc}
  - {"on": [log], exec: ./tell it}
""",
    )
    assert spec.alerts == (
        Alert(
            ("fatal", "unhealthy"),
            ("web",),
            ("sh", "-c", "x"),
            "",
            (),
            "",
            3600 * SECOND_NS,
            5 * SECOND_NS,
            0,
        ),
        Alert(
            ("twin-lost",),
            webhook="https://example.com/hook?x=y",
            headers=(("Authorization", "Bearer abc"),),
        ),
        Alert(("log",), command=(f"{place.folder}/./tell", "it")),
    )


def test_every_kind_of_news(place):
    assert load(place, f"alerts: [{{on: [{', '.join(KINDS)}], exec: sh}}]").alerts[0].on == KINDS


def test_apprise_where_it_is_installed(place, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name == "apprise" or find(name))
    (alert,) = load(place, "alerts: [{on: fatal, apprise: 'mailto://me@example.com'}]").alerts
    assert alert.apprise == "mailto://me@example.com"


def test_apprise_where_it_is_not(place, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "apprise" else find(name))
    (answer,) = place.problems("pair: p\nalerts: [{on: fatal, apprise: 'mailto://me@example.com'}]\n")
    assert answer == (
        "2:31: alerts[0].apprise: Apprise is not installed: pip install twinwatch[alerts], "
        "or tell by `webhook` or `exec`"
    )


# --- mistakes: behind `pair: p` and WORKERS, on line 6

MISTAKES = """
groups: [g]
-> 6:9: groups: expected a mapping, found a list

groups: {G: {workers: [db]}}
-> 6:10: groups.G: 'G' cannot name a group: 1 to 40 of a-z 0-9 . _ -, a letter or digit first

groups: {g: [db]}
-> 6:13: groups.g: expected a mapping, found a list

groups: {g: {}}
-> 6:10: groups.g: the key 'workers' is missing

groups: {g: {workers: []}}
-> 6:23: groups.g.workers: is empty: a group has a worker at least

groups: {g: {workers: db}}
-> 6:23: groups.g.workers: expected a list, found the text 'db'

groups: {g: {workers: [dbb]}}
-> 6:24: groups.g.workers[0]: unknown worker 'dbb': did you mean 'db'?

groups: {g: {workers: [db, web, db]}}
-> 6:33: groups.g.workers[2]: worker 'db' is in group 'g' already

groups: {g: {workers: [db]}, h: {workers: [web, db]}}
-> 6:49: groups.h.workers[1]: worker 'db' is in group 'g' already

groups: {g: {workers: [db], strategy: one-for-all}}
-> 6:39: groups.g.strategy: expected one of one_for_one, rest_for_one, one_for_all, found the text 'one-for-all'

groups: {g: {workers: [db], limit: {restarts: 0}}}
-> 6:29: groups.g.limit: the key 'within' is missing
-> 6:47: groups.g.limit.restarts: must be 1 to 64, found 0

groups: {g: {worker: [db]}}
-> 6:10: groups.g: the key 'workers' is missing
-> 6:14: groups.g.worker: unknown key 'worker': did you mean 'workers'?

groups: {g: {workers: [web, app, db], strategy: one_for_all}}
-> 6:34: groups.g.workers[2]: depends on itself: db -> app -> db: the workers of a group start in the order in which it names them

groups: {g: {workers: [app, web], strategy: rest_for_one}, h: {workers: [db], strategy: one_for_all}}
->

alerts: {on: fatal}
-> 6:9: alerts: expected a list, found a mapping

alerts: [fatal]
-> 6:10: alerts[0]: expected a mapping, found the text 'fatal'

alerts: [{exec: sh}]
-> 6:10: alerts[0]: the key 'on' is missing

alerts: [{on: [], exec: sh}]
-> 6:15: alerts[0].on: is empty; known: fatal, wedged, twin-lost, anchor-lost, unhealthy, escaped, resources, hook, log, exited, restarted

alerts: [{on: fatl, exec: sh}]
-> 6:15: alerts[0].on: unknown kind of news 'fatl': did you mean 'fatal'?

alerts: [{on: [fatal, yes], exec: sh}]
-> 6:23: alerts[0].on[1]: expected a text, found `yes`, which YAML reads as true: quote it, "yes"

alerts: [{on: fatal, off: x, exec: sh}]
-> 6:22: alerts[0]: the key 'off' is not text: YAML reads it as false; quote it

alerts: [{on: fatal}]
-> 6:10: alerts[0]: an alert has exactly one of exec, webhook, apprise

alerts: [{on: fatal, exec: sh, webhook: "http://h"}]
-> 6:32: alerts[0].webhook: an alert has exactly one of exec, webhook, apprise

alerts: [{on: fatal, exec: sh, headers: {A: b}}]
-> 6:32: alerts[0].headers: only a `webhook` has headers

alerts: [{on: fatal, workers: [dbb], exec: sh}]
-> 6:32: alerts[0].workers[0]: unknown worker 'dbb': did you mean 'db'?

alerts: [{on: fatal, exec: no-such-program}]
-> 6:28: alerts[0].exec: program 'no-such-program' is not on the PATH ('/usr/bin:/bin')

alerts: [{on: fatal, exec: []}]
-> 6:28: alerts[0].exec: is empty: the first word must name a program

alerts: [{on: fatal, webhook: "mailto:me"}]
-> 6:31: alerts[0].webhook: expected a URL that begins with http:// or https://, found the text 'mailto:me'

alerts: [{on: fatal, apprise: me}]
-> 6:31: alerts[0].apprise: 'me' is no address of Apprise, such as mailto://…

alerts: [{on: fatal, exec: sh, interval: 0s, timeout: 1h, retries: 21, shell: true}]
-> 6:42: alerts[0].interval: must be 100ms to 1d, found 0s
-> 6:55: alerts[0].timeout: must be 100ms to 10m, found 1h
-> 6:68: alerts[0].retries: must be 0 to 20, found 21
-> 6:72: alerts[0].shell: unknown key 'shell'; known: apprise, exec, headers, interval, on, retries, timeout, webhook, workers
"""


@pytest.mark.parametrize(("rest", "answers"), cases(MISTAKES.replace("->\n", "-> \n")))
def test_a_mistake(place, rest, answers):
    text = f"pair: p\n{WORKERS}{rest}\n"
    if answers == [""]:
        assert place.load(text)
    else:
        assert place.problems(text) == answers


@pytest.mark.parametrize("key", ["groups", "alerts"])
def test_they_have_no_defaults(place, key):
    (answer,) = place.problems(f"pair: p\ndefaults: {{{key}: {{}}}}\n")
    assert answer.startswith(f"2:12: defaults.{key}: unknown key '{key}'")
