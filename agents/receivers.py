"""What this app does when it announces a fact itself: ready runs go to workers, changed accounts to the log."""

from collections.abc import Mapping
from functools import partial
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Model
from django.dispatch import receiver

from agents import signals, tasks
from agents.audit import log as audit
from agents.contracts import Json
from agents.models import Run
from agents.people.models import User
from agents.runs import withdrawing


@receiver(signals.run_ready)
def hand_to_worker(sender: object, run_id: UUID, queue: str, **_: Any) -> None:
    """A broker that is away must not fail a request whose run exists: the sweep rings again."""

    def ring() -> None:  # by a name that Django can log: a `partial` has none, and then fails the request after all
        tasks.ring(run_id, queue)

    transaction.on_commit(ring, robust=True)


@receiver(signals.runs_woken)
def hand_them_to_workers(sender: object, runs: Mapping[UUID, UUID], queue: str, **_: Any) -> None:
    """As above, for many at once."""

    def ring() -> None:
        tasks.ring_all(runs, queue)

    transaction.on_commit(ring, robust=True)


@receiver(signals.run_changed)
def call_its_children_back(sender: object, run_id: UUID, state: str, **_: Any) -> None:
    """What a run that came to nothing had delegated is no longer wanted; the tick catches up with what this misses."""
    if state in {Run.State.FAILED, Run.State.CANCELLED}:
        transaction.on_commit(partial(withdrawing.withdraw_children, run_id), robust=True)


@receiver(signals.account_changed)
def keep_in_the_log(
    sender: object, verb: str, about: Model, by: User | None, reason: str, detail: Json, outcome: str = "done", **_: Any
) -> None:
    """People come before the audit log, so they announce and this records, in the same transaction."""
    audit.record(verb, about=about, by=by, reason=reason, outcome=outcome, **detail)
