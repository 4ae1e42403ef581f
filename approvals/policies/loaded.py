"""The policies at work in this process: parsed once, swapped when another version is enforced.

On the engine's hot path nothing is asked of the database but every few seconds which versions are at work. A version
that cannot be loaded refuses everything: better a standstill that is seen than rules that do not hold.
"""

import logging
import threading
import time
from dataclasses import dataclass, field
from uuid import UUID

from django.db import connection

from agents import errors
from agents.contracts import Action, Stance
from approvals.policies import cases
from approvals.policies.engine import Decision, PolicyEngine
from approvals.policies.models import PolicySet

log = logging.getLogger(__name__)

FRESH_S = 2.0
"""How long a process goes on with what it knows: within this time a version is in force everywhere."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A version at work here. Without an engine it could not be loaded: `problem` says why."""

    pk: UUID
    number: int
    engine: PolicyEngine | None
    problem: str = ""

    def judge(self, action: Action, *, team: str, level: int = 0) -> Decision:
        """What this version says of an action."""
        if self.engine is None:
            why = f"Policies {self.number} could not be loaded, so everything is refused: {self.problem}"
            return Decision(Stance.DENY, "red", (), why, errors=(self.problem,))
        return self.engine.judge(action, team=team, level=level)


@dataclass(slots=True)
class _Known:
    """What this process knows, and until when it relies on that."""

    until: float = 0.0
    enforced: Loaded | None = None
    log_only: Loaded | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


_known = _Known()


def enforced() -> Loaded | None:
    """The version that holds; None where none does."""
    return at_work()[0]


def at_work() -> tuple[Loaded | None, Loaded | None]:
    """The version that holds, and the one that is tried beside it."""
    _refresh()
    return _known.enforced, _known.log_only


def forget() -> None:
    """Look again before the next decision."""
    _known.until = 0.0


def _refresh() -> None:
    """Look again where it is time. A thread inside a transaction waits for nobody: it has a connection, and whoever
    looks may be waiting for just that one."""
    if time.monotonic() < _known.until:
        return
    is_mine = _known.lock.acquire(blocking=not connection.in_atomic_block)
    try:
        if time.monotonic() < _known.until:
            return
        try:
            _look()
        finally:
            if not connection.in_atomic_block:
                connection.close()  # a driver keeps none while a model or a tool works
        _known.until = time.monotonic() + FRESH_S
    finally:
        if is_mine:
            _known.lock.release()


def _look() -> None:
    at_work = {state: (pk, number) for pk, number, state in _at_work()}
    _known.enforced = _swapped(_known.enforced, at_work.get(PolicySet.State.ENFORCED))
    _known.log_only = _swapped(_known.log_only, at_work.get(PolicySet.State.LOG_ONLY))


def _at_work() -> list[tuple[UUID, int, str]]:
    return list(PolicySet.objects.at_work().order_by().values_list("pk", "number", "state"))


def _swapped(before: Loaded | None, now: tuple[UUID, int] | None) -> Loaded | None:
    if now is None:
        return None
    if before is not None and before.pk == now[0] and before.engine is not None:
        return before
    return load(PolicySet.objects.get(pk=now[0]))


def load(policy_set: PolicySet) -> Loaded:
    """A version ready to judge: it has refused the canaries, and its own cases come out as they did."""
    try:
        engine = PolicyEngine(policy_set.text, policy_set.surface)
        if failing := [one.problem for one in cases.run(engine, policy_set.cases) if one.problem]:
            raise errors.Conflict(f"a case that passed when it was published fails now: {failing[0]}")
    except Exception as error:  # whatever is wrong with it, nothing may go through
        log.exception("policy alarm: policies %s could not be loaded; everything is refused", policy_set.number)
        return Loaded(policy_set.pk, policy_set.number, None, str(error))
    return Loaded(policy_set.pk, policy_set.number, engine)
