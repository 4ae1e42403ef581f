"""Answering a held or doubted step: the answer is stored with the step, and the run goes on when nothing else is
open."""

from dataclasses import asdict
from uuid import UUID

from django.db import transaction

from agents import errors, signals
from agents.contracts import Answer
from agents.models import Run, Step
from agents.runs import delegating, hotpath


@transaction.atomic
def answer(run_id: UUID, seq: int, *, answer: Answer) -> None:
    """Store a person's answer and wake the run. A paused run keeps it until it is resumed. Who may answer is the
    caller's rule."""
    run = Run.objects.select_for_update(of=("self",)).get(pk=run_id)
    stored = hotpath.plain(asdict(answer))
    open_states = [Step.State.HELD, Step.State.IN_DOUBT]
    if not Step.objects.filter(run=run, seq=seq, state__in=open_states, answer__isnull=True).update(answer=stored):
        raise errors.Conflict("This step is no longer waiting for an answer.")
    still_open = Step.objects.filter(run=run, state__in=open_states, answer__isnull=True).exists()
    if run.state == Run.State.WAITING and not still_open and not delegating.awaited(run.pk).exists():
        run.move(to=Run.State.QUEUED, waiting_for="", waits="", rings=0, rung_at=None)
        signals.run_ready.send(Run, run_id=run.pk, queue=Run.Queue.CONTROL)
        signals.run_changed.send(Run, run_id=run.pk, agent_id=run.agent_id, state=run.state)
