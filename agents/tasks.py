"""Celery tasks: one line each, ids only, safe to run twice."""

from typing import Any
from uuid import UUID

from celery import shared_task
from celery.concurrency.thread import TaskPool as ThreadPool
from celery.signals import worker_process_init, worker_ready, worker_shutting_down

from agents.runs import runner
from agents.runs.keeper import keeper, stopping


@shared_task(name="agents.drive")  # type: ignore[untyped-decorator]  # Celery ships no types
def drive(run_id: str) -> None:
    """Drive a run until it ends, waits or is told to stop; a run that somebody else drives is left alone."""
    runner.drive(UUID(run_id))


def ring(run_id: UUID, queue: str) -> None:
    """Ask a worker of that queue to drive a run."""
    drive.apply_async((str(run_id),), queue=queue)


@worker_ready.connect  # type: ignore[untyped-decorator]
def live_in_threads(sender: Any, **_: object) -> None:
    """An idle worker shows signs of life too. The parent of forked drivers keeps no thread that a fork would tear."""
    if isinstance(sender.pool, ThreadPool):
        keeper()


@worker_process_init.connect  # type: ignore[untyped-decorator]
def live_in_fork(**_: object) -> None:
    """Each forked driver has a keeper of its own."""
    keeper()


@worker_shutting_down.connect  # type: ignore[untyped-decorator]
def hand_back(**_: object) -> None:
    """A worker asked to end lets its drivers, forked ones too, reach their next checkpoint and hand their runs back."""
    stopping.set()
