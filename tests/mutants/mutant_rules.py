"""What takes each guard away: said by the syntax where that is clear, else here, by hand.

An `if` guards by its condition, which becomes False. A call guards by being made, and is left out.
Everything else (what has to come first, which kind of lock, one operand of several) is in RULES, checked
against the source: a text that is not there exactly once is an error, and so is a rule without its guard.
"""

import ast
from dataclasses import dataclass

from mutant_sites import Site


class StaleRuleError(Exception):
    """A guard without its mutation, or a mutation without its guard."""


UNLOCKED = "__import__('contextlib').nullcontext()"


@dataclass(frozen=True, slots=True)
class Mutant:
    path: str
    text: str  # of the whole file
    words: str


class Rewrite:
    """Replace texts of the guard's file; each occurs there exactly once.

    `first_alone` says why the first edit alone harms nobody: another guard stands behind it, which the others
    remove. That is tried as well: alone, no test may notice it.
    """

    def __init__(self, words: str, *edits: tuple[str, str], first_alone: str = "") -> None:
        self.words = words
        self.edits = edits
        self.first_alone = first_alone


RULES: dict[tuple[str, str], Rewrite] = {
    ("R01", "linux/statefile.py:StateFile._commit"): Rewrite(
        "the selector is written before the copy",
        (
            (
                "        self._put(at + record.COPY_AT[version & 1], record.pack_copy(version, body))\n"
                "        self._put(at, record.pack_selector(version))  # R01"
            ),
            (
                "        self._put(at, record.pack_selector(version))\n"
                "        self._put(at + record.COPY_AT[version & 1], record.pack_copy(version, body))  # R01"
            ),
        ),
    ),
    ("R03", "linux/statefile.py:StateFile.write"): Rewrite(
        "the change is made before the journal tells it",
        (
            "        # R03: told before it is done\n",
            "        made = self._commit(record.slot_at(index), record.pack_slot(slot), version)\n",
        ),
        (
            "        return self._commit(record.slot_at(index), record.pack_slot(slot), version)",
            "        return made",
        ),
    ),
    ("R05", "linux/lock.py:StateLock._try"): Rewrite(
        "`flock`, which a fork shares, in place of a record lock",
        (
            "fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)  # R05",
            "byte == LOCK_BYTE and fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)",
        ),
        ("fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, LOCK_BYTE)", "fcntl.flock(self._fd, fcntl.LOCK_UN)"),
    ),
    ("R07", "core/reconcile.py:_starting"): Rewrite(
        "one that stays behind its gate is waited for",
        ("    # R07: recorded, and never let through its gate\n", "    return Wait()\n"),
    ),
    ("R10", "watch/reserve.py:_is_order"): Rewrite(
        "the end of the pipe is taken for a death",
        ("if gate.wait_parent(timeout_ns // MILLISECOND_NS):  # R10", "if True:"),
    ),
    ("R10", "linux/gate.py:Gate.wait"): Rewrite(
        "only the pipe is waited for",
        ("        poll.register(self.parent_pidfd, select.POLLIN)  # R10\n", ""),
    ),
    ("R12", "linux/statefile.py:move"): Rewrite(
        "the old file is marked after its successor has a name",
        (
            "            state.write_header(replace(header, moved=True))  # R12: before its successor has a name\n",
            "            pass\n",
        ),
        (
            ", state.path)\n    finally:\n",
            (
                ", state.path)\n"
                "        if not header.moved:\n"
                "            state.write_header(replace(header, moved=True))\n"
                "    finally:\n"
            ),
        ),
    ),
    ("R16", "watch/watcher.py:Watcher.run"): Rewrite(
        "what the former holder said is read after the first beat",
        ("        self._recall_quarantine()  # R16: before", "        # before"),
        (
            "        self._nursery.refill()  # until there is a reserve, one more kill may be the last\n",
            "        self._recall_quarantine()\n        self._nursery.refill()\n",
        ),
    ),
    ("R31", "linux/token.py:is_held"): Rewrite(
        "the token is tried, as a `flock`",
        (
            "    return holder_at(path, fcntl.F_OFD_GETLK) != 0  # R31\n",
            (
                "    fd = os.open(path, os.O_RDONLY)\n"
                "    fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)\n"
                "    os.close(fd)\n"
                "    return False\n"
            ),
        ),
        (
            "fcntl.fcntl(fd, fcntl.F_OFD_SETLK, exclusive())",
            "fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)",
        ),
    ),
    ("R14", "watch/reserve.py:_become_worker"): Rewrite(
        "the slot is not read again",
        ("if birth is None or not _is_wanted(duty, order):", "if birth is None:"),
    ),
    ("R15", "watch/guard.py:Guard._set"): Rewrite(
        "the exit is collected before it is recorded",
        (
            "        old = guarded.slot\n        read = compare_and_write(",
            (
                "        old = guarded.slot\n"
                "        if slot.is_over and guarded.pidfd >= 0:\n"
                "            process.reap(guarded.pidfd)\n"
                "        read = compare_and_write("
            ),
        ),
    ),
    ("R17", "watch/twin.py:Twin.work"): Rewrite(
        "a living twin's role is claimable, before and after its slot was read again",
        ("if not self._is_dead or self._read.version < 0:", "if self._read.version < 0:"),
        ("if self.is_live():  # R17", "if False:  # R17"),
        first_alone="the same is asked once more when its slot was read again",
    ),
    ("R19", "linux/statefile.py:StateFile.mend"): Rewrite(
        "the damage is not looked at again under the lock",
        ("self.read(index)  # R19", 'raise Damage("as it was seen", known.version)  # R19'),
    ),
    ("R20", "watch/leavings.py:end_escaped"): Rewrite(
        "the slot is not compared before each signal",
        (
            "end_token_holders(token_of(pair, guarded), is_current)",
            "end_token_holders(token_of(pair, guarded), lambda: True)",
        ),
    ),
    ("R21", "watch/anchored.py:Anchored.died"): Rewrite(
        "the pidfd is not asked", ("if self._pidfd < 0 or not is_dead(self._pidfd):", "if self._pidfd < 0:")
    ),
    ("R21", "watch/guard.py:Guard.pidfd_ready"): Rewrite(
        "the pidfd is not asked",
        ("if guarded.pidfd < 0 or not is_dead(guarded.pidfd):", "if guarded.pidfd < 0:"),
    ),
    ("R21", "watch/hooks.py:Hooks.ended"): Rewrite(
        "the pidfd is not asked",
        ("if guarded.hook_pidfd < 0 or not is_dead(guarded.hook_pidfd):", "if guarded.hook_pidfd < 0:"),
    ),
    ("R21", "watch/twin.py:Twin.died"): Rewrite(
        "the pidfd is not asked",
        (
            "if self._pidfd < 0 or self._is_dead or not is_dead(self._pidfd):",
            "if self._pidfd < 0 or self._is_dead:",
        ),
    ),
    ("R22", "watch/nursery.py:Nursery.renew"): Rewrite(
        "the old ones leave before the new ones are there",
        (
            "        while self.refill():  # R22\n            continue\n        self._dismiss(old)\n",
            "        self._dismiss(old)\n        while self.refill():\n            continue\n",
        ),
    ),
    ("R24", "linux/notify.py:NotifySocket._read_one"): Rewrite(
        "a datagram is consumed before it is recorded",
        ("self._receive(socket.MSG_PEEK)  # R24", "self._receive(0)"),
    ),
    ("R25", "watch/vitals.py:Vitals.look"): Rewrite(
        "the file is read before the program runs",
        ("if self._beats and slot.phase is not Phase.STARTING:", "if self._beats:"),
    ),
    ("R27", "core/reconcile.py:_convict"): Rewrite(
        "the signal comes before the conviction",
        (
            'return Change(replace(view.slot, health=Health.UNHEALTHY, note=reason), f"convicted: {reason}")  # R27',
            "return _ask_to_end(view, Ending.UNREADY if reason == _LATE else Ending.UNHEALTHY, reason)",
        ),
    ),
    ("R27", "core/reconcile.py:_running"): Rewrite(
        "the signal comes before the mark",
        ("return Change(marked, _TOO_OLD)  # R27", "return _ask_to_end(view, Ending.AGE, _TOO_OLD)"),
    ),
    ("R28", "anchor/reaper.py:collect"): Rewrite(
        "an orphan is collected before it is told",
        ("        tell(found.si_pid, raw_status(found.si_code, found.si_status))  # R28\n", ""),
        (
            "            os.waitid(os.P_PID, found.si_pid, os.WEXITED | os.WNOHANG)\n",
            (
                "            os.waitid(os.P_PID, found.si_pid, os.WEXITED | os.WNOHANG)\n"
                "            tell(found.si_pid, raw_status(found.si_code, found.si_status))\n"
            ),
        ),
    ),
}


def mutate(site: Site, text: str) -> Mutant:
    """The one mutant of a guard.

    Raises:
        StaleRuleError: the rules do not fit the source.
    """
    rule = RULES.get(site.key)
    mutated, words = _by_syntax(site, text) if rule is None else (_rewritten(site, text, rule), rule.words)
    try:
        changes = ast.dump(ast.parse(mutated)) != ast.dump(ast.parse(text))
    except SyntaxError as error:
        raise StaleRuleError(f"{site.race} {site.where}: its mutant is no Python: {error}") from error
    if not changes:
        raise StaleRuleError(f"{site.race} {site.where}: its mutation changes nothing")
    return Mutant(site.path, mutated, words)


def mutate_first(site: Site, text: str) -> Mutant | None:
    """The first edit alone, where that is said to harm nobody."""
    rule = RULES.get(site.key)
    if rule is None or not rule.first_alone:
        return None
    return Mutant(site.path, _rewritten(site, text, Rewrite(rule.words, rule.edits[0])), rule.first_alone)


def _by_syntax(site: Site, text: str) -> tuple[str, str]:
    match site.statement:
        case ast.If(test=test):
            return put(text, test, "False"), f"`if {flat(text, test)}`: never"
        case ast.With(items=[ast.withitem(context_expr=lock, optional_vars=None)]):
            return put(text, lock, UNLOCKED), f"`with {flat(text, lock)}`: without"
        case ast.Expr(value=ast.Call()) as call:
            return put(text, call, "pass"), f"`{flat(text, call)}`: left out"
    raise StaleRuleError(
        f"{site.race} {site.where}: what takes this guard away? Say it in RULES of tests/mutants/mutant_rules.py"
    )


def _rewritten(site: Site, text: str, rule: Rewrite) -> str:
    for old, new in rule.edits:
        if text.count(old) != 1:
            raise StaleRuleError(f"{site.race} {site.where}: its rule wants this text exactly once:\n{old}")
        text = text.replace(old, new)
    return text


def complaints(sites: list[Site], code: dict[str, str]) -> list[str]:
    """Guards without a mutation, and mutations without a guard."""
    keys = {site.key for site in sites}
    found = [f"{race} {where}: a rule without its guard" for race, where in sorted(RULES.keys() - keys)]
    for site in sites:
        try:
            mutate(site, code[site.path])
        except StaleRuleError as error:
            found.append(str(error))
    return found


def put(text: str, node: ast.expr | ast.stmt, new: str) -> str:
    """`text` with `new` in the place of a node. Columns of the syntax tree count bytes."""
    lines = text.encode().splitlines(keepends=True)
    first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
    head, tail = lines[first][: node.col_offset], lines[last][node.end_col_offset :]
    lines[first : last + 1] = [head + new.encode() + tail]
    return b"".join(lines).decode()


def flat(text: str, node: ast.AST) -> str:
    """A node's source on one line."""
    return " ".join((ast.get_source_segment(text, node) or "").split())
