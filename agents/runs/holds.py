"""Answering held or doubted steps: the answer is stored with the step, and a run goes on when nothing else of it is
open. One answer or many at once: each run is woken once."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Q, QuerySet

from agents import errors, signals
from agents.contracts import Answer
from agents.models import Run, Step
from agents.runs import elsewhere, hotpath

Place = tuple[UUID, int]
"""A step: its run and its seq."""

STORE = """
-- Answers of people, each to a step that still waits for one.
UPDATE agents_step s SET answer = given.answer
FROM unnest(%(runs)s::uuid[], %(seqs)s::int[], %(answers)s::jsonb[]) AS given(run, seq, answer)
WHERE s.run_id = given.run AND s.seq = given.seq AND s.state IN ('held', 'in_doubt') AND s.answer IS NULL
RETURNING s.run_id, s.seq
"""

WAKE = """
-- Runs that waited for nothing but these answers. The token: whoever drove one before can change nothing any more.
UPDATE agents_run r SET state = 'queued', changed_at = now(), lease_token = lease_token + 1, waiting_for = '',
    waits = '', rings = 0, rung_at = NULL
WHERE r.id = ANY(%(runs)s) AND r.state = 'waiting' AND r.queue <> 'outside'
  AND NOT EXISTS (SELECT 1 FROM agents_step s WHERE s.run_id = r.id AND s.answer IS NULL
                  AND (s.state = 'in_doubt' OR (s.state = 'held' AND s.due_at IS NULL)
                       OR (s.kind = 'delegate' AND s.state = 'intended')))
RETURNING r.id, r.agent_id
"""


def answer(run_id: UUID, seq: int, *, answer: Answer) -> None:
    """Store a person's answer and wake the run. A paused run keeps it until it is resumed. Who may answer is the
    caller's rule."""
    if not answer_many({(run_id, seq): answer}):
        raise errors.Conflict("This step is no longer waiting for an answer.")


def questions(run_id: UUID) -> QuerySet[Step]:
    """Steps of a run that a person must answer first. One that is announced goes ahead by itself."""
    asked: QuerySet[Step] = Step.objects.filter(run_id=run_id, answer__isnull=True)
    return asked.filter(Q(state=Step.State.HELD, due_at=None) | Q(state=Step.State.IN_DOUBT))


@transaction.atomic(savepoint=False)
def answer_many(answers: Mapping[Place, Answer]) -> set[Place]:
    """Store answers to steps of any runs and wake each run that waits for nothing else, once. What comes back are the
    steps that took theirs; the others no longer waited for one."""
    runs = {run_id for run_id, _ in answers}
    sessions = lock(runs)
    given: dict[str, Any] = {
        "runs": [run_id for run_id, _ in answers],
        "seqs": [seq for _, seq in answers],
        "answers": [hotpath.to_json(asdict(one)) for one in answers.values()],
    }
    with connection.cursor() as cursor:
        cursor.execute(STORE, given)
        stored: set[Place] = set(cursor.fetchall())
        cursor.execute(WAKE, {"runs": list({run_id for run_id, _ in stored})})
        woken: dict[UUID, UUID] = dict(cursor.fetchall())
    for run_id, seq in sorted(place for place in stored if place[0] in sessions):
        elsewhere.heed(sessions[run_id], seq, answers[run_id, seq])
    if woken:
        signals.runs_woken.send(Run, runs=woken, queue=Run.Queue.CONTROL)
    return stored


def lock(runs: set[UUID]) -> dict[UUID, Run]:
    """Keep runs as they are to the commit; what comes back are those whose driver is elsewhere. Younger ones
    first: a run that ends is locked before the one that it was delegated by, so whoever locks several does it in that
    order."""
    found = Run.objects.select_for_update(of=("self",)).filter(pk__in=runs).order_by("-pk")
    locked = found.only("pk", "queue", "state", "waits", "agent_id")
    return {run.pk: run for run in locked if elsewhere.is_elsewhere(run)}
