"""What this app does when it announces a fact itself: a run that is ready is handed to a worker after the commit."""

from functools import partial
from typing import Any
from uuid import UUID

from django.db import transaction
from django.dispatch import receiver

from agents import signals, tasks


@receiver(signals.run_ready)
def hand_to_worker(sender: object, run_id: UUID, queue: str, **_: Any) -> None:
    """A broker that is away must not fail a request whose run exists: the sweep rings again."""
    transaction.on_commit(partial(tasks.ring, run_id, queue), robust=True)
