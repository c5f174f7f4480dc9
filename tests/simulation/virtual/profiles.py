"""The lives that are simulated: each profile looks for other trouble."""

from virtual.faults import Profile
from virtual.kernel import Means
from virtual.run import Plan
from virtual.world import CRASHES, ESCAPES, FAMILY, JOB, SPEAKS, STUBBORN, WEB

_ALL = (WEB, JOB, CRASHES, SPEAKS)

PROFILES: dict[str, Plan] = {
    "kills": Plan(_ALL, Profile(kill=0.001, delay=0.0012, kill_worker=0.004, torn=0.0004, gate=0.1)),
    "storm": Plan((WEB, JOB), Profile(kill=0.005, twice=0.6, kill_worker=0.004, massacre=0.0004)),
    "stops": Plan(
        (WEB, CRASHES), Profile(kill=0.0003, stop=0.0006, delay=0.0006, kill_worker=0.002, gate=0.15)
    ),
    "ice": Plan(
        (WEB,),
        Profile(kill=0.0001, freeze=0.0012, stop=0.0003, kill_worker=0.0004, locked=0.25),
        safety_steps=5000,
    ),
    "cold": Plan((WEB,), Profile(freeze=0.0003, kill_worker=0.0002), safety_steps=8000),
    "poor": Plan(
        (WEB, CRASHES, FAMILY),
        Profile(kill=0.0004, no_room=0.02, no_descriptors=0.002, no_fork=0.2, kill_worker=0.003),
        fills=0.05,
    ),
    "pids": Plan(
        (WEB, CRASHES, FAMILY),
        Profile(kill=0.0012, kill_worker=0.004, stranger=0.01),
        means=Means(handles=False),
    ),
    "old": Plan(
        (WEB, JOB, CRASHES),
        Profile(kill=0.0012, stop=0.0003, kill_worker=0.003, stranger=0.004),
        means=Means(inodes=False, handles=False, info=False, group_signal=False),
    ),
    "orders": Plan(
        (WEB, JOB, STUBBORN, FAMILY),
        Profile(kill=0.0006, delay=0.0003, kill_worker=0.003, gate=0.6),
        commands=0.2,
    ),
    "down": Plan((WEB, STUBBORN, CRASHES), Profile(kill=0.0008, delay=0.0004), commands=0.05, goes_down=True),
    "escape": Plan((WEB, ESCAPES), Profile(kill=0.0003, kill_worker=0.0006, walk=0.03), safety_steps=5000),
    "lost": Plan((WEB, CRASHES), Profile(kill=0.0005, kill_worker=0.002), loses=0.2, safety_steps=5000),
    "damage": Plan((WEB, CRASHES), Profile(kill_worker=0.002), damages=0.2, commands=0.1),
}
