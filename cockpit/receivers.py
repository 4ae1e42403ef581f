"""What the shell does when another app announces a fact: it tells open pages which topics changed, after the commit."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.dispatch import receiver

from agents import signals
from approvals import signals as asked
from approvals.models import Approval
from cockpit import live


def tell(*topics: str) -> None:
    """Announce now, or when the transaction that made it true has committed."""
    if connection.in_atomic_block:
        transaction.on_commit(lambda: live.announce(*topics), robust=True)
    else:
        live.announce(*topics)


@receiver(signals.run_progressed)
def tell_of_step(sender: object, run_id: UUID, **_: Any) -> None:
    """A step was stored; called on the engine's hot path."""
    live.announce(f"run:{run_id}", "fleet")


@receiver(signals.run_changed)
def tell_of_run(sender: object, run_id: UUID, agent_id: UUID, **_: Any) -> None:
    """A run moved, or was asked to."""
    tell("runs", f"run:{run_id}", "fleet", "agents", f"agent:{agent_id}", "audit")


@receiver(signals.runs_woken)
def tell_of_runs(sender: object, runs: Mapping[UUID, UUID], **_: Any) -> None:
    """Runs that waited go on."""
    ids = *(f"run:{run_id}" for run_id in runs), *(f"agent:{agent_id}" for agent_id in set(runs.values()))
    tell("runs", "fleet", "agents", "audit", *ids)


@receiver(signals.agent_changed)
def tell_of_agent(sender: object, agent_id: UUID, **_: Any) -> None:
    """An agent was published, frozen or thawed."""
    tell("agents", f"agent:{agent_id}", "fleet", "audit")


@receiver(signals.breaker_changed)
def tell_of_breaker(sender: object, **_: Any) -> None:
    """A model or a tool stopped answering, or answers again."""
    tell("fleet", "audit")


@receiver(signals.call_billed)
def tell_of_money(sender: object, **_: Any) -> None:
    """Somebody spent something."""
    tell("costs")


@receiver(
    [
        asked.approval_opened,
        asked.approval_claimed,
        asked.approval_voted,
        asked.approval_turned,
    ]
)
def tell_of_question(sender: object, approval_id: UUID, run_id: UUID, **_: Any) -> None:
    """A question to people came, or something happened to it."""
    tell("approvals", f"approval:{approval_id}", f"run:{run_id}", "fleet", "audit")


@receiver(asked.approvals_closed)
def tell_of_answers(sender: object, approvals: Sequence[Approval], **_: Any) -> None:
    """Questions were answered, or nobody needs to answer them any more."""
    ids = {topic for one in approvals for topic in (f"approval:{one.pk}", f"run:{one.run_id}")}
    tell("approvals", "fleet", "audit", *ids)


@receiver(asked.samples_drawn)
def tell_of_samples(sender: object, **_: Any) -> None:
    """People are asked about acts that have happened."""
    tell("approvals")


@receiver(signals.audit_sealed)
def tell_of_seal(sender: object, size: int, **_: Any) -> None:
    """Entries that an open page marks as not yet sealed are."""
    tell("audit")


@receiver(asked.people_notified)
def tell_of_notification(sender: object, people: Iterable[UUID], **_: Any) -> None:
    """Somebody has something new to read, or it is over."""
    tell(*(f"notified:{person}" for person in people))


@receiver(asked.endpoint_changed)
def tell_of_endpoint(sender: object, endpoint_id: UUID, **_: Any) -> None:
    """Something was sent there, or it was switched on or off."""
    tell("endpoints", f"endpoint:{endpoint_id}")


@receiver(asked.bulk_progressed)
def tell_of_bulk(sender: object, bulk_id: UUID, **_: Any) -> None:
    """One answer to many questions came further."""
    tell("approvals", f"bulk:{bulk_id}")
