"""Celery tasks: one line each, ids only, safe to run twice."""

from uuid import UUID

from celery import shared_task

from agents.runs import runner


@shared_task(name="agents.drive")  # type: ignore[misc]  # Celery ships no types
def drive(run_id: str) -> None:
    """Drive a run until it ends, waits or is told to stop; a run that somebody else drives is left alone."""
    runner.drive(UUID(run_id))
