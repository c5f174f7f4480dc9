"""`log`, hooks, watched files, age and PID file: what they become, and every mistake in them."""

from dataclasses import replace

import pytest
from config_place import Place, cases

from twinwatch.config.worker import birth_hash
from twinwatch.core.spec import Account, Hook, Rotate
from twinwatch.core.timing import MILLISECOND_NS, SECOND_NS

DAY_NS = 86400 * SECOND_NS


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Place:
    return Place(tmp_path_factory.mktemp("config"))


# --- what they become


def test_nothing_happens_where_nothing_is_said(place):
    worker = place.worker("log: {}")
    assert (worker.log, worker.rotate, worker.timestamps, worker.log_command) == ("", None, False, ())
    assert (worker.before_start, worker.after_exit, worker.watch_files) == (None, None, ())
    assert (worker.max_age_ns, worker.pid_file) == (0, "")


@pytest.mark.parametrize(
    ("keys", "rotate"),
    [
        ("{size: 50MiB}", Rotate(size=50 * 2**20)),
        ("{age: 1d}", Rotate(age_ns=DAY_NS)),
        ("{size: 4KiB, age: 1s, keep: 1000, compress: off}", Rotate(4096, SECOND_NS, 1000, compress=False)),
    ],
)
def test_rotation(place, keys, rotate):
    worker = place.worker(f"log: {{rotate: {keys}}}")
    assert (worker.rotate, worker.log) == (rotate, "")


def test_output_through_a_program(place):
    assert place.worker("log: {timestamps: true, file: x.log, rotate: {age: 1d}}").timestamps
    worker = place.worker("log: {command: [sh, -c, 'cat {instance}']}")
    assert (worker.log_command, worker.timestamps) == (("sh", "-c", "cat {instance}"), False)


@pytest.mark.parametrize("key", ["before_start", "after_exit"])
@pytest.mark.parametrize(
    ("value", "hook"),
    [
        ("[sh, -c, x]", Hook(("sh", "-c", "x"))),
        ("sh -c x", Hook(("sh", "-c", "x"))),
        ("{command: sh, timeout: 500ms}", Hook(("sh",), 500 * MILLISECOND_NS)),
    ],
)
def test_hooks(place, key, value, hook):
    worker = place.worker(f"{key}: {value}")
    assert getattr(worker, key) == hook
    assert {worker.before_start, worker.after_exit} == {hook, None}


@pytest.mark.parametrize("short", ["sh", "[sh]"])
def test_a_hook_in_short_form_is_merged_with_the_defaults(place, short):
    defaults = "{after_exit: {timeout: 1s, command: [/bin/sh]}}"
    text = f"pair: p\ndefaults: {defaults}\nworkers: {{w: {{command: [sh], after_exit: {short}}}}}\n"
    assert place.load(text).workers[0].after_exit == Hook(("sh",), SECOND_NS)


def test_files(place):
    worker = place.worker(
        "directory: /\n    watch_files: [a, /b/c, a, '{instance}.pem']\n    pid_file: run/w.pid"
    )
    folder = place.folder
    assert worker.watch_files == (f"{folder}/a", "/b/c", f"{folder}/{{instance}}.pem")
    assert worker.pid_file == "/run/w.pid"
    assert place.worker("pid_file: /run/w.pid").pid_file == "/run/w.pid"


def test_age(place):
    assert place.worker("max_age: 1s").max_age_ns == SECOND_NS


# --- what a running process cannot be given


@pytest.mark.parametrize(
    "keys",
    [
        "ready: {tcp: 'h:1'}",
        "ready: heartbeat",
        "health: [{tcp: 'h:1'}, {heartbeat: 1s}]",
        "resources: {threads: 1}",
        "log: {rotate: {size: 1MiB}}",
        "before_start: sh",
        "after_exit: sh",
        "watch_files: [x]",
        "max_age: 1d",
        "pid_file: x",
    ],
)
def test_a_running_process_has_it_already(place, keys):
    assert place.worker(keys).birth_hash == place.worker("").birth_hash


def test_a_running_process_cannot_be_given_it(place):
    keys = [
        *("", "notify: true", "health: [{notify: 5s}]", "health: [{notify: 6s}]"),
        *("cgroup: {pids: 1}", "cgroup: {pids: 2}", "log: {timestamps: true}"),
    ]
    hashes = [place.worker(key).birth_hash for key in keys]
    assert len(set(hashes)) == len(keys)
    assert place.worker("ready: notify").birth_hash == hashes[1]


def test_another_account_is_another_process(place):
    worker = replace(place.worker(""), account=Account(33, 33, (33,), "www", "/srv", "/bin/sh"))
    assert birth_hash(worker) != birth_hash(replace(worker, account=None))


def test_behind_a_fifo_it_does_not_matter_where_the_lines_go(place):
    (one,) = {
        place.worker(f"log: {log}").birth_hash
        for log in (
            "{timestamps: true}",
            "{timestamps: true, file: x.log}",
            "{command: sh}",
            "{command: sh -x}",
        )
    }
    assert one != place.worker("").birth_hash


# --- mistakes: below `pair: p`, `workers:`, `  w:`, `    command: [sh]`; the keys begin at 5:5

MISTAKES = r"""
log: {fil: x}
-> 5:11: log.fil: unknown key 'fil': did you mean 'file'?

log: {rotate: {}}
-> 5:11: log.rotate: needs `size` or `age`: when is it due?

log: {rotate: 50MiB}
-> 5:19: log.rotate: expected a mapping, found the text '50MiB'

log: {rotate: {keep: 3}}
-> 5:11: log.rotate: needs `size` or `age`: when is it due?

log: {rotate: {size: 4095, age: 999ms, keep: 0, compress: gzip}}
-> 5:26: log.rotate.size: must be at least 4096 bytes, found 4095
-> 5:37: log.rotate.age: must be 1s to 365d, found 999ms
-> 5:50: log.rotate.keep: must be 1 to 1000, found 0
-> 5:63: log.rotate.compress: expected true or false, found the text 'gzip'

log: {timestamps: iso}
-> 5:23: log.timestamps: expected true or false, found the text 'iso'

log: {command: sh, timestamps: true}
-> 5:36: log.timestamps: `command` gets each line as it is: leave out one of both

log: {file: x.log, command: sh}
-> 5:17: log.file: `command` keeps what it reads: twinwatch has no file of it

log: {command: sh, rotate: {age: 1d}}
-> 5:32: log.rotate: `command` keeps what it reads: twinwatch has no file of it

log: {command: no-such-program}
-> 5:20: log.command: program 'no-such-program' is not on the PATH ('/usr/bin:/bin')

log: {command: []}
-> 5:20: log.command: is empty: the first word must name a program

before_start: []
-> 5:19: before_start: is empty: the first word must name a program

before_start:
-> 5:18: before_start: expected a list, found nothing

after_exit: {timeout: 1s}
-> 5:5: after_exit: the key 'command' is missing

after_exit: {command: sh, timeout: 0s}
-> 5:40: after_exit.timeout: must be 1ms to 1d, found 0s

after_exit: ./no-such
-> 5:17: after_exit: program '{folder}/./no-such' does not exist

before_start: {command: sh, user: root}
-> 5:33: before_start.user: unknown key 'user'; known: command, timeout

directory: /no/such
before_start: ./no-such
-> 5:16: directory: directory '/no/such' does not exist

watch_files: a
-> 5:18: watch_files: expected a list, found the text 'a'

watch_files: [~/a, '', 1, b/]
-> 5:19: watch_files[0]: `~` is not expanded: write the absolute path
-> 5:24: watch_files[1]: must not be empty
-> 5:28: watch_files[2]: expected a text, found `1`: quote it, "1"
-> 5:31: watch_files[3]: 'b/' is a directory: name a file in it

max_age: 999ms
-> 5:14: max_age: must be 1s to 365d, found 999ms

max_age: 24
-> 5:14: max_age: a duration needs a unit: say 24s

pid_file: [x]
-> 5:15: pid_file: expected a text, found a list

instances: 2
pid_file: /run/w.pid
-> 6:15: pid_file: 2 instances cannot share '/run/w.pid': put {instance} into its name
"""


@pytest.mark.parametrize(("keys", "answers"), cases(MISTAKES))
def test_a_mistake(place, keys, answers):
    answers = [answer.replace("{folder}", str(place.folder)) for answer in answers]
    assert place.of_worker(keys.replace("\n", "\n    ")) == answers


IN_A_FILE = """
x: {command: sh, log: {file: y.0.fifo}}
y: {command: sh, log: {timestamps: true}}
-> 4:20: workers.y.log: the log 'y.0.fifo' is that of worker 'x' already

x: {command: sh, log: {command: sh}}
y: {command: sh, log: {file: x.log}}
->

x: {command: sh, log: {file: y.log.2.gz}}
y: {command: sh, log: {rotate: {age: 1d}}}
-> 3:20: workers.x.log: 'y.log.2.gz' is a backup of the log of worker 'y'

x: {command: sh, log: {file: y.log.2.gz}}
y: {command: sh}
->
"""


@pytest.mark.parametrize(("workers", "answers"), cases(IN_A_FILE.replace("->\n", "-> \n")))
def test_who_writes_where(place, workers, answers):
    text = "pair: p\nworkers:\n  " + workers.replace("\n", "\n  ") + "\n"
    if answers == [""]:
        assert place.load(text)
    else:
        assert place.problems(text) == answers


def test_sinks_are_guarded_too(place):
    workers = "".join(
        f"  w{n}: {{command: sh, instances: 1000, log: {{timestamps: true}}}}\n" for n in range(5)
    )
    answer = "2:1: workers: 10000 instances in all with those that read `log`: a pair guards at most 8192"
    assert place.problems(f"pair: p\nworkers:\n{workers}") == [answer]
