"""Celery tasks of this app: one line each, ids only, safe to run twice."""

from uuid import UUID

from celery import shared_task


@shared_task(name="approvals.decide_in_bulk")  # type: ignore[untyped-decorator]  # Celery ships no types
def decide_in_bulk(bulk_id: str) -> None:
    """Work on a bulk decision until it has ended; one that somebody else works on is left alone."""
    from approvals.bulk import jobs  # which rings for this task

    jobs.drive(UUID(bulk_id))
