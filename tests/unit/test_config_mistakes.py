"""Every mistake in a configuration, and the exact answer to it: line, column, path and words.

In the tables a blank line ends a case, and what follows `->` is the answer.
"""

import re

import pytest
from config_place import Place, cases


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Place:
    return Place(tmp_path_factory.mktemp("config"))


# Below `pair: p`, `workers:`, `  w:`, `    command: [sh]`: the keys begin at 5:5, their paths at `workers.w`.
IN_A_WORKER = r"""
umask:
-> 5:11: umask: expected an octal umask with a leading 0, such as 022, found nothing

environment: [A]
-> 5:18: environment: expected a mapping, found a list

environment:
-> 5:17: environment: expected a mapping, found nothing

depends_on: w
-> 5:17: depends_on: expected a list, found the text 'w'

directory: {a: b}
-> 5:16: directory: expected a text, found a mapping

comand: x
-> 5:5: comand: unknown key 'comand': did you mean 'command'?

dependson: []
-> 5:5: dependson: unknown key 'dependson': did you mean 'depends_on'?

instances: 0
-> 5:16: instances: must be 1 to 1000, found 0

instances: 1001
-> 5:16: instances: must be 1 to 1000, found 1001

instances: yes
-> 5:16: instances: expected a whole number, found `yes`, which YAML reads as true

instances: off
-> 5:16: instances: expected a whole number, found `off`, which YAML reads as false

instances: "2"
-> 5:16: instances: expected a whole number, found the text '2'

instances: 2.0
-> 5:16: instances: expected a whole number, found `2.0`

instances: 010
-> 5:16: instances: expected a whole number in plain decimal digits, found `010`

instances: 1:30
-> 5:16: instances: expected a whole number in plain decimal digits, found `1:30`

directory: ~/x
-> 5:16: directory: `~` is not expanded: write the absolute path

directory: /no/such
-> 5:16: directory: directory '/no/such' does not exist

directory: ''
-> 5:16: directory: must not be empty

environment: {A: no}
-> 5:22: environment.A: expected a text, found `no`, which YAML reads as false: quote it, "no"

environment: {A: 2024-01-01}
-> 5:22: environment.A: expected a text, found `2024-01-01`: quote it, "2024-01-01"

environment: {A: }
-> 5:21: environment.A: expected a text, found nothing

environment: {A=B: x}
-> 5:19: environment.A=B: 'A=B' cannot name a variable

environment: {'': x}
-> 5:19: environment.'': '' cannot name a variable

environment: {"A\0": x}
-> 5:19: environment: text cannot hold a NUL byte

environment: {A: "\0"}
-> 5:22: environment.A: text cannot hold a NUL byte

environment: {A: "\ud800"}
-> 5:22: environment.A: text cannot hold half a surrogate pair

environment: {on: x}
-> 5:19: environment: the key 'on' is not text: YAML reads it as true; quote it

environment: {1: x}
-> 5:19: environment: the key '1' is not text: quote it

environment: {[a]: x}
-> 5:19: environment: a key must be a plain word

environment: {A: x, B: y, A: z}
-> 5:31: environment.A: given twice, first on line 5

umask: 22
-> 5:12: umask: expected an octal umask with a leading 0, such as 022, found `22`

umask: 089
-> 5:12: umask: expected an octal umask with a leading 0, such as 022, found the text '089'

umask: 01777
-> 5:12: umask: expected an octal umask with a leading 0, such as 022, found `01777`

umask: 0x12
-> 5:12: umask: expected an octal umask with a leading 0, such as 022, found `0x12`

user: no-such-user
-> 5:11: user: there is no user 'no-such-user' on this machine

user: 4000000000
-> 5:11: user: there is no user '4000000000' on this machine

user: -1
-> 5:11: user: must be 0 to 4294967294, found -1

group: no-such-group
-> 5:12: group: there is no group 'no-such-group' on this machine

rlimits: {nofiles: 1}
-> 5:15: rlimits.nofiles: unknown limit 'nofiles': did you mean 'nofile'?

rlimits: {nofile: 64KiB}
-> 5:23: rlimits.nofile: expected a whole number or `unlimited` for 'nofile', found the text '64KiB'

rlimits: {nofile: -1}
-> 5:23: rlimits.nofile: must be 0 to 9223372036854775807, found -1

rlimits: {as: 64M}
-> 5:19: rlimits.as: expected a size such as 64MiB, 1GB or 1000, found the text '64M'

rlimits: {as: yes}
-> 5:19: rlimits.as: expected a size such as 64MiB, 1GB or 1000, found `yes`, which YAML reads as true

rlimits: {nofile: {soft: 9, hard: 8}}
-> 5:30: rlimits.nofile.soft: the soft limit is above the hard one

rlimits: {nofile: {soft: unlimited, hard: 8}}
-> 5:30: rlimits.nofile.soft: the soft limit is above the hard one

rlimits: {nofile: {soft: 9}}
-> 5:15: rlimits.nofile: the key 'hard' is missing

log: web.log
-> 5:10: log: expected a mapping, found the text 'web.log'

log: {file: ''}
-> 5:17: log.file: must not be empty

log: {file: a/}
-> 5:17: log.file: 'a/' is a directory: name a file in it

log: {file: ../a}
-> 5:17: log.file: '../a' may leave the log directory: give an absolute path

instances: 2
log: {file: a.log}
-> 6:10: log: 2 instances cannot share 'a.log': put {instance} into its name

restart: no
-> 5:14: restart: expected one of always, on-failure, never, found `no`, which YAML reads as false

restart: sometimes
-> 5:14: restart: expected one of always, on-failure, never, found the text 'sometimes'

restart: [never]
-> 5:14: restart: expected a mapping, found a list

restart: {success_codes: [0, 256]}
-> 5:34: restart.success_codes[1]: must be 0 to 255, found 256

restart: {on_unknown: no}
-> 5:27: restart.on_unknown: expected one of restart, hold, found `no`, which YAML reads as false

restart: {backoff: {factor: 0.5}}
-> 5:33: restart.backoff.factor: must be 1.0 to 100.0, found 0.5

restart: {backoff: {factor: .inf}}
-> 5:33: restart.backoff.factor: expected a number in plain decimal digits, found `.inf`

restart: {backoff: {jitter: low}}
-> 5:33: restart.backoff.jitter: expected a number, found the text 'low'

restart: {backoff: {jitter: 2}}
-> 5:33: restart.backoff.jitter: must be 0.0 to 1.0, found 2.0

restart: {backoff: {burst: true}}
-> 5:32: restart.backoff.burst: expected a whole number, found `true`, which YAML reads as true

restart: {backoff: {initial: 1m, max: 1s}}
-> 5:43: restart.backoff.max: max 1s is below initial 1m

restart: {backoff: {initial: 1m}}
-> 5:34: restart.backoff.initial: max 30s is below initial 1m

restart: {limit: {restarts: 65, within: 1m}}
-> 5:33: restart.limit.restarts: must be 1 to 64, found 65

restart: {limit: {restarts: 5}}
-> 5:15: restart.limit: the key 'within' is missing

restart: {limit: {restarts: 5, within: 0s}}
-> 5:44: restart.limit.within: must be 1ms to 365d, found 0s

stop: {signal: TRM}
-> 5:20: stop.signal: unknown signal 'TRM': did you mean 'TERM'?

stop: {signal: STOP}
-> 5:20: stop.signal: SIGSTOP ends no process

stop: {signal: 65}
-> 5:20: stop.signal: must be 1 to 64, found 65

stop: {signal: 0}
-> 5:20: stop.signal: must be 1 to 64, found 0

stop: {signal: on}
-> 5:20: stop.signal: expected a signal such as TERM, SIGTERM or 15, found `on`, which YAML reads as true

start_timeout: 5
-> 5:20: start_timeout: a duration needs a unit: say 5s

start_timeout: "5"
-> 5:20: start_timeout: a duration needs a unit: say 5s

start_timeout: 0s
-> 5:20: start_timeout: must be 1ms to 365d, found 0s

start_timeout: 366d
-> 5:20: start_timeout: must be 1ms to 365d, found 366d

start_timeout: -1s
-> 5:20: start_timeout: expected a duration such as 500ms, 2s or 1h30m, found the text '-1s'

start_timeout: 30m1h
-> 5:20: start_timeout: expected a duration such as 500ms, 2s or 1h30m, found the text '30m1h'

start_timeout: ''
-> 5:20: start_timeout: expected a duration such as 500ms, 2s or 1h30m, found the text ''

start_timeout: 1:30
-> 5:20: start_timeout: expected a duration such as 500ms, 2s or 1h30m, found `1:30`

start_timeout: yes
-> 5:20: start_timeout: expected a duration such as 500ms, 2s or 1h30m, found `yes`, which YAML reads as true

depends_on: [w]
-> 5:18: depends_on[0]: a worker cannot depend on itself

depends_on: [v]
-> 5:18: depends_on[0]: unknown worker 'v'; known: w

depends_on: [no]
-> 5:18: depends_on[0]: expected a text, found `no`, which YAML reads as false: quote it, "no"

umask: !octal 022
-> 5:12: umask: the YAML tag '!octal' is not used here

umask: !!python/object:os.system {}
-> 5:12: umask: the YAML tag '!!python/object:os.system' is not used here

stop: &s {<<: *s}
-> 5:15: stop: the merge key `<<` is not used here: put what workers share under `defaults`

environment: &e {A: *e}
-> 5:18: environment.A: an alias cannot contain itself
"""


@pytest.mark.parametrize(("keys", "answers"), cases(IN_A_WORKER))
def test_a_mistake_in_a_worker(place, keys, answers):
    assert place.of_worker(keys.replace("\n", "\n    ")) == answers


IN_A_COMMAND = """
[]
-> is empty: the first word must name a program

['']
-> is empty: the first word must name a program

''
-> is empty: the first word must name a program

'sh "x'
-> cannot be split into words: No closing quotation

ls | wc
-> no shell is between that would understand '|': say [sh, -c, '...']

8080
-> expected a list, found `8080`

yes
-> expected a list, found `yes`, which YAML reads as true

/no/such
-> program '/no/such' does not exist

/etc
-> program '/etc' is not a file

/etc/passwd
-> program '/etc/passwd' is not executable: chmod +x it

no-such-program
-> program 'no-such-program' is not on the PATH ('/usr/bin:/bin')
"""


@pytest.mark.parametrize(("command", "answers"), cases(IN_A_COMMAND))
def test_a_mistake_in_a_command(place, command, answers):
    found = place.problems(f"pair: p\nworkers:\n  w: {{command: {command}}}\n")
    assert found == [f"3:16: workers.w.command: {answers[0]}"]


IN_A_FILE = r"""
# nothing
-> 1:1: the file is empty: it needs at least `pair: NAME`

- a
-> 1:1: expected `key: value` lines at the top level

hello
-> 1:1: expected `key: value` lines at the top level

workers: {}
-> 1:1: the key 'pair' is missing

pair:
-> 1:6: pair: expected a text, found nothing

pair: 12
-> 1:7: pair: expected a text, found `12`: quote it, "12"

pair: Shop
-> 1:7: pair: 'Shop' cannot name a pair: 1 to 32 of a-z 0-9 _ -, a letter or digit first

pair: p
pairs: q
-> 2:1: pairs: unknown key 'pairs': did you mean 'pair'?

pair: p
zebra: q
-> 2:1: zebra: unknown key 'zebra'; known: alerts, anchor, defaults, groups, pair, watch, workers

pair: p
pair: q
-> 2:1: pair: given twice, first on line 1

pair: p
workers:
-> 2:9: workers: expected a mapping, found nothing

pair: p
workers: {w: }
-> 2:13: workers.w: expected a mapping, found nothing

pair: p
workers: {w: {}}
-> 2:11: workers.w: the key 'command' is missing

pair: p
workers:
  W: {command: sh}
-> 3:3: workers.W: 'W' cannot name a worker: 1 to 40 of a-z 0-9 . _ -, a letter or digit first

pair: p
workers:
  all: {command: sh}
-> 3:3: workers.all: all cannot name a worker: to the commands it means every worker

pair: p
workers:
  a: {command: sh}
-> 3:3: workers.a: a cannot name a worker: to the commands it means the watcher

pair: p
workers:
  w: {command: sh}
  w: {command: sh}
-> 4:3: workers.w: given twice, first on line 3

pair: p
watch: {interval: 10ms}
-> 2:19: watch.interval: must be 50ms to 1m, found 10ms

pair: p
watch: {interval: 5s}
-> 2:19: watch.interval: the timeout (12s) must be at least 3 intervals (15s)

pair: p
watch: {timeout: 1s}
-> 2:18: watch.timeout: the timeout (1s) must be at least 3 intervals (12s)

pair: p
watch: {reserve: 9}
-> 2:18: watch.reserve: must be 1 to 8, found 9

pair: p
watch: {a: b
-> 3:1: YAML syntax: expected ',' or '}', but got '<stream end>', while parsing a flow mapping

pair: p
---
pair: q
-> 2:1: YAML syntax: but found another document, expected a single document in the stream

pair: *x
-> 1:7: YAML syntax: found undefined alias 'x'

pair: "\UFFFFFFFF"
-> 1:10: YAML syntax: a number here is out of range

pair: p
workers:
  x: {command: sh, depends_on: [y]}
  y: {command: sh, depends_on: [c]}
  c: {command: sh, depends_on: [x]}
-> 3:33: workers.x.depends_on[0]: depends on itself: x -> y -> c -> x

pair: p
workers:
  x: {command: sh, log: {file: x.log}}
  y: {command: sh, log: {file: ./x.log}}
-> 4:20: workers.y.log: the log 'x.log' is that of worker 'x' already

pair: p
workers:
  x: {command: sh, log: {file: y.log}}
  y: {command: sh}
-> 4:3: workers.y: the log 'y.log' is that of worker 'x' already

pair: p
defaults: {command: sh}
-> 2:12: defaults.command: belongs to one worker and has no default

pair: p
defaults: {umsk: 022}
-> 2:12: defaults.umsk: unknown key 'umsk': did you mean 'umask'?

pair: p
defaults: {stop: {timeout: 5}}
workers: {x: {command: sh}, y: {command: sh}}
-> 2:28: defaults.stop.timeout: a duration needs a unit: say 5s
"""


@pytest.mark.parametrize(("text", "answers"), cases(IN_A_FILE))
def test_a_mistake_in_a_file(place, text, answers):
    assert place.problems(f"{text}\n") == answers


@pytest.mark.parametrize("scalar", ["8080", "1.5", "yes", "2024-01-01"])
def test_an_argument_that_yaml_does_not_read_as_text_must_be_quoted(place, scalar):
    (answer,) = place.problems(f"pair: p\nworkers:\n  w: {{command: [sh, {scalar}]}}\n")
    assert answer.startswith("3:21: workers.w.command[1]: expected a text, found ")
    assert answer.endswith(f': quote it, "{scalar}"')


UNPRINTABLE = [
    ("", "1:1: the file is empty: it needs at least `pair: NAME`"),
    ("pair: " + "[" * 40, "1:38: YAML syntax: nested deeper than 32 levels"),
    ("pair: é\a\n", "1:8: character '\\x07' is not allowed"),
    ("\ufeffpair: Ü\n", "1:7: pair: 'Ü' cannot name a pair: 1 to 32 of a-z 0-9 _ -, a letter or digit first"),
    (b"pair: p\n# \xff\n", "2:3: is not UTF-8 text"),
]


@pytest.mark.parametrize(("text", "answer"), UNPRINTABLE)
def test_a_file_that_is_hard_to_show(place, text, answer):
    assert place.problems(text) == [answer]


def test_a_tab_is_answered_with_what_to_do(place):
    (answer,) = place.problems("pair: p\n\tx: 1\n")
    assert answer.startswith("2:1: YAML syntax: found character '\\t' that cannot start any token")
    assert answer.endswith("(indent with spaces)")


def test_more_instances_than_a_pair_guards(place):
    workers = "".join(f"  w{n}: {{command: sh, instances: 1000}}\n" for n in range(9))
    answer = "2:1: workers: 9000 instances in all: a pair guards at most 8192"
    assert place.problems(f"pair: p\nworkers:\n{workers}") == [answer]


def test_text_that_is_too_long_is_shown_in_part(place):
    (answer,) = place.problems(f"pair: {'P' * 1000}\n")
    assert answer.startswith(f"1:7: pair: '{'P' * 60}…' cannot name a pair")


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file(place):
    found = place.problems("""
pair: P
watch: {interval: 1}
workers:
  x: {command: [sh, 1], umask: 9, depends_on: [y]}
  y: {command: nope, depends_on: [x, z]}
extra: 1
""")
    places = [re.match(r"\d+:\d+: [^:]*", line)[0] for line in found]
    assert places == [
        "2:7: pair",
        "3:19: watch.interval",
        "5:21: workers.x.command[1]",
        "5:32: workers.x.umask",
        "5:48: workers.x.depends_on[0]",
        "6:16: workers.y.command",
        "6:38: workers.y.depends_on[1]",
        "7:1: extra",
    ]


def test_each_circle_is_told(place):
    pairs = "".join(
        f"  a{n}: {{command: sh, depends_on: [b{n}]}}\n  b{n}: {{command: sh, depends_on: [a{n}]}}\n"
        for n in (1, 2)
    )
    found = place.problems(f"pair: p\nworkers:\n{pairs}")
    assert [line.rpartition(": ")[2] for line in found] == ["a1 -> b1 -> a1", "a2 -> b2 -> a2"]


def test_a_billion_laughs_are_cut_short(place):
    bomb = "a0: &a0 [x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 20)
    )
    assert place.problems(bomb) == ["1:1: unfolds to more than 100000 values"]
