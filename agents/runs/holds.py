"""Answering held or doubted steps: the answer is stored with the step, and a run goes on when nothing else of it is
open. One answer or many at once: each run is woken once."""

from collections.abc import Collection, Mapping
from dataclasses import asdict
from operator import itemgetter
from typing import Any
from uuid import UUID

from django.db import transaction
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
JOIN agents_run r ON r.id = given.run
WHERE s.run_id = given.run AND s.seq = given.seq AND s.state IN ('held', 'in_doubt') AND s.answer IS NULL
RETURNING s.run_id, s.seq, r.queue = 'outside'
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

LOCK = """
SELECT id FROM agents_run WHERE id = ANY(%(runs)s) ORDER BY id DESC FOR UPDATE
"""


@transaction.atomic(savepoint=False)
def answer(run_id: UUID, seq: int, *, answer: Answer) -> None:
    """Store a person's answer and wake the run. A paused run keeps it until it is resumed. Who may answer is the
    caller's rule."""
    lock({run_id})
    if not answer_many({(run_id, seq): answer}):
        raise errors.Conflict("This step is no longer waiting for an answer.")


def questions(run_id: UUID) -> QuerySet[Step]:
    """Steps of a run that a person must answer first. One that is announced goes ahead by itself."""
    asked: QuerySet[Step] = Step.objects.filter(run_id=run_id, answer__isnull=True)
    return asked.filter(Q(state=Step.State.HELD, due_at=None) | Q(state=Step.State.IN_DOUBT))


def answer_many(answers: Mapping[Place, Answer]) -> set[Place]:
    """Store answers to steps of any runs and wake each run that waits for nothing else, once. What comes back are the
    steps that took theirs; the others no longer waited for one. Call under the lock of their runs."""
    given: dict[str, Any] = {
        "runs": [run_id for run_id, _ in answers],
        "seqs": [seq for _, seq in answers],
        "answers": [hotpath.to_json(asdict(one)) for one in answers.values()],
    }
    stored = {(run_id, seq): is_elsewhere for run_id, seq, is_elsewhere in hotpath.rows_within(STORE, given)}
    woken: dict[UUID, UUID] = dict(hotpath.rows_within(WAKE, {"runs": list({run_id for run_id, _ in stored})}))
    _tell_elsewhere({place: answers[place] for place, is_elsewhere in stored.items() if is_elsewhere})
    if woken:
        signals.runs_woken.send(Run, runs=woken, queue=Run.Queue.CONTROL)
    return set(stored)


def _tell_elsewhere(answers: Mapping[Place, Answer]) -> None:
    if not answers:
        return
    sessions = Run.objects.only("pk", "queue", "state", "waits", "agent_id").in_bulk({run_id for run_id, _ in answers})
    for (run_id, seq), answer in sorted(answers.items(), key=itemgetter(0)):
        elsewhere.heed(sessions[run_id], seq, answer)


def lock(runs: Collection[UUID]) -> None:
    """Keep runs as they are to the commit. Younger ones first: a run that ends is locked before the one that it was
    delegated by, so whoever locks several does it in that order."""
    hotpath.rows_within(LOCK, {"runs": list(runs)})
