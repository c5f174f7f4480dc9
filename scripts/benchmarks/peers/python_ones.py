"""supervisor and circus, each from PyPI in an environment of its own."""

from collections.abc import Sequence
from typing import ClassVar

from benchmarks import store
from benchmarks.peers.peer import FAST, SHIPPED, Peer, Plan, write


class Supervisor(Peer):
    """It looks once a second."""

    key, title = "supervisor", "supervisor"
    variants: ClassVar = {
        SHIPPED: "`minfds` raised where the workers need it",
        FAST: "`startsecs=0`, output to NONE; it looks once a second all the same",
    }
    most, most_why = 1000, "more take minutes to come back"
    patience_s = 180.0
    slow = (SHIPPED, FAST)

    def obtain(self) -> None:
        self.version = "4.3.0"
        self._python = str(store.pypi(f"supervisor=={self.version}") / "bin/python")

    def lay(self, plan: Plan) -> None:
        fast = "startsecs=0\nautorestart=true\nstdout_logfile=NONE\nstderr_logfile=NONE\n"
        program, argument = plan.worker("w%(process_num)d")
        text = f"""[supervisord]
nodaemon=true
user=root
minfds={max(1024, 8 * plan.count)}
logfile={plan.keep}/supervisord.log
pidfile={plan.run}/supervisord.pid
childlogdir={plan.keep}

[program:w]
command={program} {argument}
process_name=w%(process_num)d
numprocs={plan.count}
{fast if plan.is_fast else ""}"""
        write(plan.keep / "supervisord.conf", text)

    def argv(self, plan: Plan) -> Sequence[str]:
        return [self._python, "-m", "supervisor.supervisord", "-c", str(plan.keep / "supervisord.conf")]


class Circus(Peer):
    """It looks each `check_delay`."""

    key, title = "circus", "circus"
    variants: ClassVar = {SHIPPED: "`check_delay` 5 s", FAST: "`check_delay = 0.1`, `warmup_delay = 0`"}
    most, most_why = 1000, "more take minutes to start"
    patience_s = 120.0
    slow = (SHIPPED, FAST)

    def obtain(self) -> None:
        self.version = "0.19.0"
        self._python = str(store.pypi(f"circus=={self.version}") / "bin/python")

    def lay(self, plan: Plan) -> None:
        program, argument = plan.worker("w$(circus.wid)")
        text = f"""[circus]
endpoint = ipc://{plan.run}/endpoint
pubsub_endpoint = ipc://{plan.run}/pubsub
{"check_delay = 0.1" if plan.is_fast else ""}

[watcher:w]
cmd = {program}
args = {argument}
numprocesses = {plan.count}
copy_env = True
{"warmup_delay = 0" if plan.is_fast else ""}
"""
        write(plan.keep / "circus.ini", text)

    def argv(self, plan: Plan) -> Sequence[str]:
        return [self._python, "-m", "circus.circusd", str(plan.keep / "circus.ini")]
