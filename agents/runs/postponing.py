"""Putting a step off: the try that came to nothing is kept, and the step says when the next one is due."""

from dataclasses import asdict
from datetime import datetime

from agents.audit.transactions import CurrentXidNumber
from agents.models import Step, StepAttempt
from agents.runs import hotpath, steps
from agents.runs.lease import Claim, Held
from agents.runs.steps import Planned, Result


def postpone(claim: Claim, step: Planned, result: Result, due: datetime) -> None:
    """Store a try that failed in passing: what it cost is booked, and the step is intended again for later."""
    tried = step.attempt if result.is_try else step.attempt - 1
    with steps.database():
        steps.heed(claim, hotpath.fenced(steps.guard(claim)))
        if not is_intended(step):
            steps.insert(claim, step, "intended")
        again = {"attempt": tried, "started_at": None, "due_at": due, "xid": CurrentXidNumber()}
        why = {"error_class": hotpath.text(result.error_class, most=60), "error": hotpath.text(result.error)}
        Step.objects.filter(run_id=claim.run_id, seq=step.seq).update(**again, **why)
        for call in result.calls:
            steps.book(claim, call)
        if result.is_try:
            StepAttempt.objects.bulk_create([kept(claim, step, result, due)], ignore_conflicts=True)
    steps.remember(claim, step, "intended", None, result.error)
    answer = hotpath.plain(asdict(step.action.answer)) if step.action.answer else None
    claim.open[step.seq] = Held("intended", tried, answer, due_at=due, error_class=result.error_class)
    steps.progress(claim)


def is_intended(step: Planned) -> bool:
    """Whether its intent stands already: what only reads is stored when it is done."""
    return step.action.kind == "model" or step.action.writes or step.stored


def kept(claim: Claim, step: Planned, result: Result, due: datetime | None) -> StepAttempt:
    """The row of one try."""
    known = [call.price.amount for call in result.calls if call.price.amount is not None]
    last = result.output["attempts"][-1] if result.output else {"provider": "", "model": ""}
    return StepAttempt(
        run_id=claim.run_id,
        seq=step.seq,
        number=step.attempt,
        started_at=result.started_at or steps.now(),
        finished_at=steps.now(),
        error_class=hotpath.text(result.error_class, most=60),
        error=hotpath.text(result.error),
        provider=last["provider"],
        model=last["model"],
        cost=sum(known[1:], known[0]) if known else None,
        due_at=due,
    )
