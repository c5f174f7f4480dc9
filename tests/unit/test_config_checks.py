"""`ready`, `health`, `resources` and `cgroup`: what they become, and every mistake in them."""

import pytest
from config_place import Place, cases

from twinwatch.core.checks import Action, Beat, Health, Probe, ProbeKind, Ready, Resources
from twinwatch.core.spec import Cgroup
from twinwatch.core.timing import MILLISECOND_NS, SECOND_NS


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Place:
    return Place(tmp_path_factory.mktemp("config"))


# --- what they become


def test_nothing_is_checked_where_nothing_is_said(place):
    worker = place.worker("")
    assert (worker.ready, worker.health, worker.resources, worker.cgroup) == (None, Health(), None, None)
    assert not worker.notify


@pytest.mark.parametrize(
    ("keys", "ready"),
    [
        ("ready: notify", Ready(notify=True)),
        ("ready: heartbeat", Ready(heartbeat=True)),
        ("ready: {notify: yes, heartbeat: on, timeout: 0}", Ready(notify=True, heartbeat=True, timeout_ns=0)),
        ("ready: {notify: true, exit: false}", Ready(notify=True)),
        (
            "ready: {tcp: 'db:5432', timeout: 5m}",
            Ready(probes=(Probe(ProbeKind.TCP, "db:5432"),), timeout_ns=300 * SECOND_NS),
        ),
    ],
)
def test_readiness(place, keys, ready):
    assert place.worker(keys).ready == ready


def test_a_job_has_all_the_time_it_needs(place):
    assert place.worker("ready: exit\n    restart: never").ready == Ready(exit=True, timeout_ns=0)
    assert place.worker("ready: {exit: true}\n    restart: on-failure").ready == Ready(
        exit=True, timeout_ns=0
    )


def test_all_kinds_of_probes_make_ready(place):
    worker = place.worker("ready: {exec: sh -c 'exit 0', http: 'http://h', tcp: 'h:1'}")
    assert [probe.kind for probe in worker.ready.probes] == ["http", "tcp", "exec"]


HTTP = Probe(ProbeKind.HTTP, "http://127.0.0.1:80/")
TCP = Probe(ProbeKind.TCP, "localhost:5432")


@pytest.mark.parametrize(
    ("item", "probe"),
    [
        ("http: 'http://127.0.0.1:80/'", HTTP),
        ("http: {url: 'http://127.0.0.1:80/'}", HTTP),
        ("http: 'HTTPS://[::1]/x?y=z'", Probe(ProbeKind.HTTP, "HTTPS://[::1]/x?y=z")),
        ("http: 'http://h:808{instance}/'", Probe(ProbeKind.HTTP, "http://h:808{instance}/")),
        ("tcp: localhost:5432", TCP),
        ("tcp: {address: 'localhost:5432'}", TCP),
        ("tcp: '[::1]:5432'", Probe(ProbeKind.TCP, "[::1]:5432")),
        ("tcp: {socket: /run/x.sock}", Probe(ProbeKind.TCP, socket="/run/x.sock")),
        (
            'tcp: {address: "h:6379", send: "PING\\r\\n", expect: "^.PONG", delay: 1s}',
            Probe(ProbeKind.TCP, "h:6379", send="PING\r\n", body="^.PONG", delay_ns=SECOND_NS),
        ),
        ("exec: [sh, -c, x]", Probe(ProbeKind.EXEC, command=("sh", "-c", "x"))),
        ("exec: sh -c 'a b'", Probe(ProbeKind.EXEC, command=("sh", "-c", "a b"))),
        (
            "exec: {command: sh, timeout: 1h}",
            Probe(ProbeKind.EXEC, command=("sh",), timeout_ns=3600 * SECOND_NS),
        ),
    ],
)
def test_a_probe(place, item, probe):
    assert place.worker(f"health: [{{{item}}}]").health == Health(probes=(probe,))


def test_a_probe_with_every_key(place):
    worker = place.worker("""health:
      - http:
          url: https://localhost/health
          socket: run/web.{instance}.sock
          method: POST
          headers: {Host: shop.example, X-Number: 7, Authorization: Basic abc=}
          status: [200, 300-399, 200]
          body: '"ok": ?true'
          interval: 100ms
          timeout: 1.5s
          delay: 10s
          failures: 255
          successes: 2""")
    assert worker.health.probes == (
        Probe(
            ProbeKind.HTTP,
            "https://localhost/health",
            socket=f"{place.folder}/run/web.{{instance}}.sock",
            method="POST",
            headers=(("Host", "shop.example"), ("X-Number", "7"), ("Authorization", "Basic abc=")),
            statuses=((200, 200), (300, 399)),
            body='"ok": ?true',
            interval_ns=100 * MILLISECOND_NS,
            timeout_ns=1500 * MILLISECOND_NS,
            delay_ns=10 * SECOND_NS,
            failures=255,
            successes=2,
        ),
    )


@pytest.mark.parametrize(("status", "ranges"), [("204", ((204, 204),)), ("200-299", ((200, 299),))])
def test_one_status_needs_no_list(place, status, ranges):
    (probe,) = place.worker(f"health: [{{http: {{url: 'http://h', status: {status}}}}}]").health.probes
    assert probe.statuses == ranges


def test_signs_of_life(place):
    assert place.worker("health: [{heartbeat: 3s}]").health == Health(heartbeat=Beat(3 * SECOND_NS))
    worker = place.worker(
        "health: [{heartbeat: {timeout: 1s, misses: 1, progress: 1m}}, {notify: {timeout: 5s}}]"
    )
    assert worker.health == Health(Beat(SECOND_NS, 1, 60 * SECOND_NS), 5 * SECOND_NS)
    assert place.worker("health: [{notify: 5s}]").health == Health(notify_ns=5 * SECOND_NS)


def test_who_wants_notifications_gets_the_socket(place):
    for keys in (
        "notify: true",
        "ready: notify",
        "health: [{notify: 5s}]",
        "notify: true\n    ready: notify",
    ):
        assert place.worker(keys).notify
    for keys in ("notify: false", "ready: heartbeat", "health: [{heartbeat: 5s}]"):
        assert not place.worker(keys).notify


def test_resources(place):
    assert place.worker("resources: {memory: 500MiB}").resources == Resources(memory=500 * 2**20)
    keys = (
        "{memory: 1GB, cpu: 150%, descriptors: 1000, threads: 200, measure: pss, tree: false, "
        "interval: 1m, strikes: 1, action: {exec: sh -c x}}"
    )
    assert place.worker(f"resources: {keys}").resources == Resources(
        *(10**9, 150.0, 1000, 200),
        pss=True,
        tree=False,
        interval_ns=60 * SECOND_NS,
        strikes=1,
        action=Action.EXEC,
        command=("sh", "-c", "x"),
    )
    for word in Action.RESTART, Action.ALERT:
        assert place.worker(f"resources: {{threads: 1, action: {word}}}").resources.action is word


def test_cgroup(place):
    assert place.worker("cgroup: {}").cgroup == Cgroup()
    assert place.worker("cgroup: {memory: 1GiB, pids: 100, cpu: 12.5%}").cgroup == Cgroup(2**30, 100, 12.5)


def test_defaults_merge_under_them(place):
    spec = place.load("""
pair: p
defaults:
  ready: {timeout: 5s, tcp: {address: "h:1", interval: 1s}}
  health: [{heartbeat: 1s}]
  resources: {memory: 1GiB, interval: 1m}
workers:
  plain: {command: [sh]}
  own:
    command: [sh]
    ready: notify
    health: [{notify: 1s}]
    resources: {memory: 2GiB}
""")
    plain, own = spec.workers
    probes = (Probe(ProbeKind.TCP, "h:1", interval_ns=SECOND_NS),)
    assert plain.ready == Ready(probes=probes, timeout_ns=5 * SECOND_NS)
    assert own.ready == Ready(notify=True, probes=probes, timeout_ns=5 * SECOND_NS)
    assert plain.health == Health(heartbeat=Beat(SECOND_NS))
    assert own.health == Health(notify_ns=SECOND_NS)
    assert own.resources == Resources(memory=2**31, interval_ns=60 * SECOND_NS)


# --- mistakes: below `pair: p`, `workers:`, `  w:`, `    command: [sh]`; the keys begin at 5:5

MISTAKES = r"""
ready: notfy
-> 5:12: ready: unknown key 'notfy': did you mean 'notify'?

ready: yes
-> 5:12: ready: expected a mapping, found `yes`, which YAML reads as true

ready: {}
-> 5:5: ready: needs one of notify, heartbeat, http, tcp, exec, exit

ready: {notify: false, timeout: 1s}
-> 5:5: ready: needs one of notify, heartbeat, http, tcp, exec, exit

ready: {notify: "true"}
-> 5:21: ready.notify: expected true or false, found the text 'true'

ready: exit
-> 5:12: ready: a job that is started again whenever it ends is never done: `restart: on-failure`, or `never`

restart: {policy: always}
ready: {exit: true}
-> 6:19: ready.exit: a job that is started again whenever it ends is never done: `restart: on-failure`, or `never`

restart: never
ready: {exit: true, notify: true}
-> 6:19: ready.exit: goes with nothing else: who has ended gives no other sign

restart: never
ready: {exit: true, timeout: 1s}
-> 6:34: ready.timeout: does not go with `exit`: a job has all the time it needs

restart: never
ready: {exit: true, tcp: "h:1"}
-> 6:19: ready.exit: goes with nothing else: who has ended gives no other sign

ready: {http: {}}
-> 5:13: ready.http: the key 'url' is missing

ready: {http: }
-> 5:18: ready.http: expected a text, found nothing

ready: {tcp: "h:1", timeout: 60}
-> 5:34: ready.timeout: a duration needs a unit: say 60s

notify: false
ready: notify
-> 5:13: notify: without it, what `ready` or `health` wants to hear cannot be said

notify: 1
-> 5:13: notify: expected true or false, found `1`

health: {heartbeat: 3s}
-> 5:13: health: expected a list, found a mapping

health: [heartbeat]
-> 5:14: health[0]: expected a mapping, found the text 'heartbeat'

health: [{}]
-> 5:14: health[0]: an item has exactly one of notify, heartbeat, http, tcp, exec

health: [{notify: 1s, heartbeat: 1s}]
-> 5:14: health[0]: an item has exactly one of notify, heartbeat, http, tcp, exec

health: [{hearbeat: 1s}]
-> 5:15: health[0].hearbeat: unknown key 'hearbeat': did you mean 'heartbeat'?

health: [{notify: 1s}, {heartbeat: 1s}, {notify: 2s}, {heartbeat: 1s}]
-> 5:45: health[2]: a second `notify`: there is one of it for each worker
-> 5:59: health[3]: a second `heartbeat`: there is one of it for each worker

health: [{heartbeat: }]
-> 5:25: health[0].heartbeat: expected a duration such as 500ms, 2s or 1h30m, found nothing

health: [{heartbeat: {misses: 3}}]
-> 5:15: health[0].heartbeat: the key 'timeout' is missing

health: [{heartbeat: {timeout: 99ms, misses: 256, progress: 0}}]
-> 5:36: health[0].heartbeat.timeout: must be 100ms to 1d, found 99ms
-> 5:50: health[0].heartbeat.misses: must be 1 to 255, found 256
-> 5:65: health[0].heartbeat.progress: must be 100ms to 1d, found 0s

health: [{notify: {timeout: 25h}}]
-> 5:33: health[0].notify.timeout: must be 100ms to 1d, found 25h

health: [{http: "ftp://h/"}]
-> 5:21: health[0].http: expected a URL that begins with http:// or https://, found the text 'ftp://h/'

health: [{http: localhost/x}]
-> 5:21: health[0].http: expected a URL that begins with http:// or https://, found the text 'localhost/x'

health: [{http: "http:///x"}]
-> 5:21: health[0].http: expected a host, and a port if any, after the ://, found the text 'http:///x'

health: [{http: "http://h:0/"}]
-> 5:21: health[0].http: a port is 1 to 65535, found 0

health: [{http: "http://h:x/"}]
-> 5:21: health[0].http: expected a host, and a port if any, after the ://, found the text 'http://h:x/'

health: [{http: "http://h/ä"}]
-> 5:21: health[0].http: a URL holds no spaces and nothing but ASCII: write such characters as %XX

health: [{http: "http://h/a b"}]
-> 5:21: health[0].http: a URL holds no spaces and nothing but ASCII: write such characters as %XX

health: [{http: "http://u:p@h/"}]
-> 5:21: health[0].http: a URL holds no user and password here: put `Authorization` into `headers`

health: [{http: "http://[::1/"}]
-> 5:21: health[0].http: is no URL: Invalid IPv6 URL

health: [{tcp: "[::g]:1"}]
-> 5:20: health[0].tcp: '::g' is no IPv6 address

instances: 3
health: [{http: "http://h:6553{instance}/"}]
-> 0

instances: 7
health: [{http: "http://h:6553{instance}/"}]
-> 6:21: health[0].http: a port is 1 to 65535, found 65536

health: [{http: {url: "http://h", urll: x}}]
-> 5:39: health[0].http.urll: unknown key 'urll': did you mean 'url'?

health: [{http: {url: "http://h", method: get}}]
-> 5:47: health[0].http.method: expected one of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, found the text 'get'

health: [{http: {url: "http://h", method: HEAD, body: x}}]
-> 5:59: health[0].http.body: the answer to HEAD has no body

health: [{http: {url: "http://h", headers: {"A B": x, C: "x\ny", D: yes, E: €}}}]
-> 5:49: health[0].http.headers.A B: 'A B' cannot name a header
-> 5:62: health[0].http.headers.C: a header's value is one line of Latin-1
-> 5:73: health[0].http.headers.D: expected a text, found `yes`, which YAML reads as true: quote it, "yes"
-> 5:81: health[0].http.headers.E: a header's value is one line of Latin-1

health: [{http: {url: "http://h", status: 600}}]
-> 5:47: health[0].http.status: expected an HTTP status such as 200, or a range such as 200-299, found `600`

health: [{http: {url: "http://h", status: [200, 2xx]}}]
-> 5:53: health[0].http.status[1]: expected an HTTP status such as 200, or a range such as 200-299, found the text '2xx'

health: [{http: {url: "http://h", status: {from: 200}}}]
-> 5:47: health[0].http.status: expected an HTTP status such as 200, or a range such as 200-299, found a mapping

health: [{http: {url: "http://h", status: [[200]]}}]
-> 5:48: health[0].http.status[0]: expected an HTTP status such as 200, or a range such as 200-299, found a list

health: [{http: {url: "http://h", status: 299-200}}]
-> 5:47: health[0].http.status: a range begins with the lower one: 200-299

health: [{http: {url: "http://h", status: []}}]
-> 5:47: health[0].http.status: is empty: no answer would be good

health: [{http: {url: "http://h", body: "("}}]
-> 5:45: health[0].http.body: is no regular expression: missing ), unterminated subpattern at position 0

health: [{http: {url: "http://h", interval: 99ms, timeout: 9ms, delay: 2d, failures: 0, successes: 256}}]
-> 5:49: health[0].http.interval: must be 100ms to 1d, found 99ms
-> 5:64: health[0].http.timeout: must be 10ms to 1h, found 9ms
-> 5:76: health[0].http.delay: must be 0s to 1d, found 2d
-> 5:90: health[0].http.failures: must be 1 to 255, found 0
-> 5:104: health[0].http.successes: must be 1 to 255, found 256

health: [{tcp: 5432}]
-> 5:20: health[0].tcp: expected a text, found `5432`: quote it, "5432"

health: [{tcp: localhost}]
-> 5:20: health[0].tcp: expected HOST:PORT, such as localhost:5432 or [::1]:5432, found the text 'localhost'

health: [{tcp: "::1:5432"}]
-> 5:20: health[0].tcp: expected HOST:PORT, such as localhost:5432 or [::1]:5432, found the text '::1:5432'

health: [{tcp: "h:65536"}]
-> 5:20: health[0].tcp: a port is 1 to 65535, found 65536

health: [{tcp: {send: x}}]
-> 5:15: health[0].tcp: needs `address` or `socket`, and not both

health: [{tcp: {address: "h:1", socket: /s}}]
-> 5:37: health[0].tcp.socket: needs `address` or `socket`, and not both

health: [{tcp: {socket: ~/s}}]
-> 5:29: health[0].tcp.socket: `~` is not expanded: write the absolute path

health: [{tcp: {socket: /s/}}]
-> 5:29: health[0].tcp.socket: '/s/' is a directory: name a file in it

health: [{exec: []}]
-> 5:21: health[0].exec: is empty: the first word must name a program

health: [{exec: no-such-program -x}]
-> 5:21: health[0].exec: program 'no-such-program' is not on the PATH ('/usr/bin:/bin')

health: [{exec: {command: [/no/such], timeout: 1s}}]
-> 5:31: health[0].exec.command: program '/no/such' does not exist

ready: {exec: sh | sh}
-> 5:19: ready.exec: no shell is between that would understand '|': say [sh, -c, '...']

resources: {}
-> 5:5: resources: needs one of memory, cpu, descriptors, threads

resources: {strikes: 3}
-> 5:5: resources: needs one of memory, cpu, descriptors, threads

resources: {memory: 0}
-> 5:25: resources.memory: must be at least 1 bytes, found 0

resources: {memory: 500M}
-> 5:25: resources.memory: expected a size such as 64MiB, 1GB or 1000, found the text '500M'

resources: {cpu: 90}
-> 5:22: resources.cpu: expected percent of one core, such as 90% or 150%, found `90`

resources: {cpu: 0%}
-> 5:22: resources.cpu: must be 1% to 100000%, found 0%

resources: {descriptors: 0, threads: -1}
-> 5:30: resources.descriptors: must be 1 to 2147483647, found 0
-> 5:42: resources.threads: must be 1 to 2147483647, found -1

resources: {threads: 1, measure: uss, tree: 1, interval: 1, strikes: 0}
-> 5:38: resources.measure: expected one of rss, pss, found the text 'uss'
-> 5:49: resources.tree: expected true or false, found `1`
-> 5:62: resources.interval: a duration needs a unit: say 1s
-> 5:74: resources.strikes: must be 1 to 255, found 0

resources: {threads: 1, action: exec}
-> 5:37: resources.action: expected one of restart, alert, {exec: [PROGRAM, ...]}, found the text 'exec'

resources: {threads: 1, action: {exec: no-such-program}}
-> 5:44: resources.action.exec: program 'no-such-program' is not on the PATH ('/usr/bin:/bin')

resources: {threads: 1, action: {run: sh}}
-> 5:29: resources.action: the key 'exec' is missing
-> 5:38: resources.action.run: unknown key 'run'; known: exec

cgroup: {pids: 0, cpu: 50, memory: 0}
-> 5:20: cgroup.pids: must be 1 to 2147483647, found 0
-> 5:28: cgroup.cpu: expected percent of one core, such as 90% or 150%, found `50`
-> 5:40: cgroup.memory: must be at least 1 bytes, found 0
"""


@pytest.mark.parametrize(("keys", "answers"), cases(MISTAKES))
def test_a_mistake(place, keys, answers):
    keys = keys.replace("\n", "\n    ")
    if answers == ["0"]:
        place.worker(keys)
    else:
        assert place.of_worker(keys) == answers


def test_a_socket_whose_path_the_kernel_cannot_hold(place):
    path = "/" + "s" * 105
    assert place.worker(f"health: [{{tcp: {{socket: '{path}{{instance}}'}}}}]").health.probes
    (answer,) = place.of_worker(f"instances: 11\n    health: [{{tcp: {{socket: '{path}{{instance}}'}}}}]")
    assert answer == (
        "6:29: health[0].tcp.socket: the path of a Unix socket has at most 107 bytes, this one has 108"
    )


def test_a_program_of_a_probe_is_searched_as_the_workers_own(place):
    folder = place.folder / "bin"
    folder.mkdir(exist_ok=True)
    for instance in (0, 1):
        program = folder / f"probe-{instance}"
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    keys = "environment: {PATH: bin}\n    command: [probe-0]\n    health: [{exec: ['probe-{instance}']}]"
    text = f"pair: p\nworkers:\n  w:\n    instances: %d\n    {keys}\n"
    assert place.load(text % 2).workers[0].health.probes[0].command == ("probe-{instance}",)
    (message,) = place.problems(text % 3)
    assert message == "7:21: workers.w.health[0].exec: program 'probe-2' is not on the PATH ('bin')"


def test_an_odd_pattern_is_no_warning(place):
    """A warning is an error in these tests."""
    assert place.worker("health: [{tcp: {address: 'h:1', expect: '[[a]'}}]").health.probes[0].body == "[[a]"
