"""All that take part."""

from benchmarks.peers.limits import SpawnMany, SpawnOne
from benchmarks.peers.others import Dinit, Monit, Pm2
from benchmarks.peers.own import Twinwatch
from benchmarks.peers.peer import Peer
from benchmarks.peers.python_ones import Circus, Supervisor
from benchmarks.peers.scanned import S6, Daemontools, Runit
from benchmarks.peers.systemd import Systemd

LIMITS = ("c-one", "c-many")


def everyone() -> list[Peer]:
    """New adapters, the limits first."""
    return [
        *(SpawnOne(), SpawnMany(), Twinwatch()),
        *(Daemontools(), Runit(), S6(), Dinit(), Systemd(), Pm2(), Supervisor(), Circus(), Monit()),
    ]
