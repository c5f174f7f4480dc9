"""What is checked: configurations in which every promise must hold, and mutants in which one must not."""

from functools import partial

from model_kit import Run, Search

# Each finishes within seconds. Every mutant below has its bounds here, where nothing is taken out.
SHORT = (
    Run("start", "KILLS=0"),
    Run("start without reserves", "RES_A=0 RES_B=0"),
    Run("one kill", "KILLS=1"),
    Run("one kill, two workers", "KILLS=1 WORKERS=2 RES_B=0"),
    Run("one stop", "STOPS=1"),
    Run("two kills", "KILLS=2 RES_B=0"),
    Run("a kill and a stop", "KILLS=1 STOPS=1 RES_B=0"),
    Run("one frozen", "FREEZES=1"),
    Run("one kill, slow death", "KILLS=1 SLOW_DEATH=1"),
    Run("one kill, leaked pipe ends", "KILLS=1 LEAKS=1 RES_A=2 RES_B=0"),
    Run("one exec", "EXECS=1"),
    Run("one kill, one exec", "KILLS=1 EXECS=1 RES_B=0"),
    Run("down", "DOWN=1"),
    Run("down, one kill", "KILLS=1 DOWN=1"),
    Run("down, one stop", "STOPS=1 DOWN=1"),
    Run("anchor, one kill", "KILLS=1 ANCHOR=1 RES_B=0"),
    Run("anchor, one stop", "STOPS=1 ANCHOR=1 RES_B=0"),
    Run("anchor, down, one kill", "KILLS=1 DOWN=1 ANCHOR=1 RES_A=0 RES_B=0"),
    Run("whole pair, two kills", "KILLS=2 RUNNING=1 SURVIVES=1 RES_A=2 RES_B=2 N=12"),
    Run("whole pair, one reserve, two kills", "KILLS=2 RUNNING=1 SURVIVES=1"),
    Run("whole pair, one reserve, two stops", "STOPS=2 RUNNING=1 SURVIVES=1"),
    Run("no endless run, one kill", "KILLS=1", search=Search.CYCLES),
    Run("no endless run, one stop", "STOPS=1", search=Search.CYCLES),
    Run("recovery (LTL), one kill", "KILLS=1", search=Search.RECOVERY),
    Run("recovery (LTL), one stop", "STOPS=1", search=Search.RECOVERY),
    Run("claim on SIGKILL, fenced", "FREEZES=1 CLAIM_ON_KILL=1 ONE_ACTS=1"),  # the control of R08's mutant
)

_mutant = partial(Run, level="-O0")  # found in no time: compiling is what takes long

MUTANTS = (
    _mutant("no gate", "NO_GATE=1 RES_A=0 RES_B=0", "P2_runs_only_what_is_recorded"),
    _mutant("gate opened before the record", "OPEN_FIRST=1 KILLS=0", "P3_nobody_leaves_in_vain"),
    _mutant(
        "the same, and not read again",
        "OPEN_FIRST=1 NO_REREAD=1 KILLS=0",
        "P2_runs_only_what_is_recorded",
        "R14",
    ),
    _mutant("slot not compared", "NO_COMPARE=1 KILLS=0", "P1_one_process_of_a_worker", "R04"),
    _mutant("takeover without compare", "BLIND_TAKEOVER=1 KILLS=1", "P1_one_holder_of_a_role", "R04"),
    _mutant(
        "own generation not compared, claim on SIGKILL",
        "NO_OWN=1 FREEZES=1 CLAIM_ON_KILL=1 ONE_ACTS=1",
        "P1_no_fenced_one_acts",
        "R08",
    ),
    _mutant("lock kept by a child", "KEEP_LOCK=1 KILLS=1", "P7_nobody_waits_for_a_lost_lock", "R05"),
    _mutant("lock holder not ended", "NO_RESCUE=1 STOPS=1", "P7_nobody_waits_for_a_lost_lock", "R06"),
    _mutant("names not looked at", "NO_NAMES=1 KILLS=1", "P1_one_slot_a_process", "R02"),
    _mutant("stopped child not ended", "NO_EVICT=1 STOPS=1", "P3_the_pair_is_whole_again", "R07"),
    _mutant("claim on SIGKILL", "CLAIM_ON_KILL=1 FREEZES=1", "P1_one_holder_of_a_role", "R17"),
    _mutant("end of pipe is death, exec", "EOF_IS_DEATH=1 EXECS=1", "P1_one_holder_of_a_role", "R10"),
    _mutant(
        "end of pipe is death, leaked ends",
        "EOF_IS_DEATH=1 KILLS=1 LEAKS=1 RES_A=2 RES_B=0",
        "P7_no_child_waits_for_nobody",
        "R10",
    ),
    _mutant("no vigil", "NO_VIGIL=1 KILLS=1 STOPS=1 RES_B=0", "P3_the_pair_is_whole_again", "R13"),
    _mutant("not read again", "NO_REREAD=1 DOWN=1", "P8_no_program_starts_late", "R14"),
    _mutant(
        "wish not compared, not read again",
        "NO_DESIRED=1 NO_REREAD=1 ACK_ONLY=1 DOWN=1",
        "P8_nothing_lives_after_down",
        "R14",
    ),
    _mutant(
        "wish not compared, anchor",
        "NO_DESIRED=1 KILLS=1 DOWN=1 ANCHOR=1 RES_A=0 RES_B=0",
        "P8_nothing_starts_after_down",
    ),
    _mutant(
        "stopped child not ended (LTL)",
        "NO_EVICT=1 STOPS=1",
        "cycle",
        "R07",
        search=Search.RECOVERY,
        only_search=True,
    ),
    _mutant(
        "lock kept by a child (LTL)",
        "KEEP_LOCK=1 KILLS=1",
        "cycle",
        "R05",
        search=Search.RECOVERY,
        only_search=True,
    ),
    _mutant(
        "gate opened before the record (endless)",
        "OPEN_FIRST=1 KILLS=1",
        "cycle",
        search=Search.CYCLES,
        only_search=True,
    ),
)

# Guards whose removal alone breaks nothing that is checked: something else stands behind them.
SECOND_LINES = (
    Run("own generation not compared", "NO_OWN=1 KILLS=1", race="R08"),
    Run("newborn watcher does not look for itself", "NO_SEAT=1 KILLS=1", race="R08"),
    Run("not read again, one kill", "NO_REREAD=1 ACK_ONLY=1 KILLS=1 DOWN=1", race="R14"),
    Run("wish not compared, no anchor, one kill", "NO_DESIRED=1 KILLS=1 DOWN=1"),
    Run("wish not compared, no anchor, one stop", "NO_DESIRED=1 STOPS=1 DOWN=1"),
)

# How many kills a whole pair survives: what the code does not promise, and what would change it.
LIMITS = (
    Run("no reserves, two kills", "KILLS=2 RUNNING=1 SURVIVES=1 RES_A=0 RES_B=0", "P3_somebody_is_left"),
    Run("no reserves, an anchor, two kills", "KILLS=2 RUNNING=1 SURVIVES=1 RES_A=0 RES_B=0 ANCHOR=1"),
    Run(
        "one reserve, two kills, a named one leaves",
        "KILLS=2 RUNNING=1 SURVIVES=1 SEAT_IF_NAMED=0",
        "P3_somebody_is_left",
        "R02",
    ),
    Run(
        "one reserve, two stops, a named one leaves",
        "STOPS=2 RUNNING=1 SURVIVES=1 SEAT_IF_NAMED=0",
        "P3_somebody_is_left",
        "R02",
    ),
    Run("one reserve, two kills, gate not asked again", "KILLS=2 RUNNING=1 SURVIVES=1 ORDER_FIRST=0"),
    Run("one reserve, three kills", "KILLS=3 RUNNING=1 SURVIVES=1", "P3_somebody_is_left"),
    Run(
        "down killed, a reserve stopped",
        "KILLS=1 STOPS=1 DOWN=1 RES_B=0 STRICT_DOWN=1",
        "P8_a_pair_told_to_be_down_leaves",
    ),
)

_LONG_S = 240
_MEMORY_MB = 5500


def _long(name: str, switches: str, search: Search = Search.STATES, seed: int = 0) -> Run:
    return Run(name, switches, search=search, limit_s=_LONG_S, memory_mb=_MEMORY_MB, seed=seed, level="-O2")


LONG = (
    _long("two kills", "KILLS=2"),
    _long("a kill and a stop", "KILLS=1 STOPS=1"),
    _long("one kill, two workers", "KILLS=1 WORKERS=2"),
    _long("whole pair, three kills", "KILLS=3 RUNNING=1"),
    _long("whole pair, two reserves, three kills", "KILLS=3 RUNNING=1 SURVIVES=1 RES_A=2 RES_B=2 N=12"),
    _long("whole pair, two reserves, two stops", "STOPS=2 RUNNING=1 SURVIVES=1 RES_A=2 RES_B=2 N=12"),
    _long(
        "whole pair, two reserves, a kill and a stop",
        "KILLS=1 STOPS=1 RUNNING=1 SURVIVES=1 RES_A=2 RES_B=2 N=12",
    ),
    _long("whole pair, two stops, a kill", "KILLS=1 STOPS=2 RUNNING=1"),
    _long("two reserves on a side, a kill and a stop", "KILLS=1 STOPS=1 RES_A=2 RES_B=0 N=12"),
    _long("frozen, one kill", "FREEZES=1 KILLS=1"),
    _long("two kills, slow death", "KILLS=2 SLOW_DEATH=1 RES_B=0"),
    _long("down, two kills", "KILLS=2 DOWN=1 RES_B=0"),
    _long("down, a kill and a stop", "KILLS=1 STOPS=1 DOWN=1 RES_B=0"),
    _long("anchor, one kill", "KILLS=1 ANCHOR=1"),
    _long("anchor, one stop", "STOPS=1 ANCHOR=1"),
    _long("anchor, two kills", "KILLS=2 ANCHOR=1 RES_A=0 RES_B=0"),
    _long("anchor, a kill and a stop", "KILLS=1 STOPS=1 ANCHOR=1 RES_A=0 RES_B=0"),
    _long("anchor, down, one kill", "KILLS=1 DOWN=1 ANCHOR=1 N=12"),
    _long(
        "whole pair, no reserves, anchor, three kills",
        "KILLS=3 RUNNING=1 SURVIVES=1 ANCHOR=1 RES_A=0 RES_B=0",
    ),
    _long("recovery (LTL), two kills", "KILLS=2 RES_B=0", Search.RECOVERY),
    _long("no endless run, a kill and a stop", "KILLS=1 STOPS=1 RES_B=0", Search.CYCLES),
    _long("whole pair, one reserve, a kill and a stop", "KILLS=1 STOPS=1 RUNNING=1 SURVIVES=1"),
    *(
        _long(f"two kills and a stop, seed {seed}", "KILLS=2 STOPS=1 N=12", Search.BITSTATE, seed)
        for seed in (1, 101, 202)
    ),
    *(
        _long(
            f"three reserves, two workers, two kills, seed {seed}",
            "KILLS=2 WORKERS=2 RES_A=2 RES_B=1 N=12",
            Search.BITSTATE,
            seed,
        )
        for seed in (1, 101)
    ),
    _long("anchor, down, a kill and a stop", "KILLS=1 STOPS=1 DOWN=1 ANCHOR=1 N=12", Search.BITSTATE, 1),
)
