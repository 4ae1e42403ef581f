"""Keeping where the version that is only tried says something else than what holds.

The differences wait in memory and are written in batches by a timer beside the work: the hot path appends to a list.
What a process that is killed had not written yet is lost; it is evidence about rules, not about acts.
"""

import atexit
import logging
import threading
from collections import deque
from datetime import timedelta

from django.db import DatabaseError, connection
from django.utils import timezone

from agents.contracts import Action, Stance
from approvals.policies.engine import Decision
from approvals.policies.loaded import Loaded
from approvals.policies.models import PolicyDifference

log = logging.getLogger(__name__)

WITHIN_S = 2.0
KEPT = timedelta(days=30)
FORGET = 5_000
MOST = 10_000
"""What waits at most; beyond it the oldest are dropped, should the database be away for long."""

_waiting: deque[PolicyDifference] = deque(maxlen=MOST)
_lock = threading.Lock()
_timers: list[threading.Timer] = []


def note(tried: Loaded, action: Action, held: Decision | None, would: Decision) -> None:
    """Remember an action about which the two differ; without a version that holds, everything is allowed."""
    was = held.stance if held else Stance.ALLOW
    if would.stance == was:
        return
    _waiting.append(
        PolicyDifference(
            policy_set_id=tried.pk,
            run_id=action.run_id,
            seq=action.seq,
            agent_id=action.agent_id,
            agent=action.agent[:80],
            team_id=action.team_id,
            name=action.name[:160],
            was=was.name.lower(),
            would=would.stance.name.lower(),
            rules=list(would.rules),
            reason=would.reason,
            at=timezone.now(),
        )
    )
    _wake()


def _wake() -> None:
    with _lock:
        if not _timers:
            timer = threading.Timer(WITHIN_S, _on_time)
            timer.daemon = True
            _timers.append(timer)
            timer.start()


def _on_time() -> None:
    with _lock:
        _timers.clear()
    try:
        write()
    except DatabaseError:
        log.warning("differences of the policies that are tried could not be written; they wait")
    finally:
        connection.close()  # the timer's own


def write() -> int:
    """Write what waits; how many there were. What another process wrote of the same step stands."""
    batch = []
    while _waiting:
        batch.append(_waiting.popleft())
    try:
        PolicyDifference.objects.bulk_create(batch, ignore_conflicts=True)
    except DatabaseError:
        _waiting.extend(batch)
        raise
    return len(batch)


def forget() -> int:
    """A job of the tick: delete what was written long ago, some at a time. Rows are written within seconds, so that the
    oldest have the lowest numbers."""
    first = PolicyDifference.objects.order_by("id").values_list("pk", "at")[:FORGET]
    old = [pk for pk, at in first if at < timezone.now() - KEPT]
    deleted, _ = PolicyDifference.objects.filter(pk__in=old).delete() if old else (0, {})
    return deleted


def close() -> None:
    """Write the rest before this process ends."""
    if _waiting:
        _on_time()


atexit.register(close)
