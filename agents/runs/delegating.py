"""Runs that start other runs: the child begins with the step that asks for it, and its end is that step's answer.

Parent and child are rows that know each other, so nobody holds anything while the child works. What goes up (result,
failure, cost) goes in the transaction that ends the child; locks are taken upwards only. What goes down (a cancel) is
in `withdrawing.py`, in transactions of its own.
"""

from dataclasses import asdict
from datetime import datetime, timedelta
from uuid import UUID, uuid5

from django.db.models import F, QuerySet

from agents import errors, signals
from agents.contracts import Answer, Json
from agents.models import Agent, Run, Step, User
from agents.runs import gates, hotpath, starting, steps
from agents.runs.lease import Claim, Held
from agents.runs.starting import Delegated
from agents.runs.steps import Planned, Result

DEEPEST = 5
ANSWER = "delegated"


def begin(claim: Claim, step: Planned) -> None:
    """Start the child in the transaction that stores the step: a crash leaves both or neither. Raises
    `errors.DomainError` where it may not be started, which the program sees as a refusal."""
    slug, given = step.action.name.removeprefix("delegate."), step.action.arguments
    with steps.database():
        steps.heed(claim, hotpath.fenced(steps.guard(claim)))
        if claim.asked or claim.frozen:
            return
        gates.admit(step.action)
        agent = Agent.objects.select_related("team", "release").filter(slug=slug).first()
        if agent is None:
            raise errors.Missing(f"There is no agent called {slug!r} to delegate to.")
        parent = Run.objects.select_related("started_by", "team").get(pk=claim.run_id)
        _require(parent, agent)
        steps.insert(claim, step, "intended")
        if step.stored:  # a person let it through: that answer is used up, the child's is awaited
            Step.objects.filter(run_id=claim.run_id, seq=step.seq).update(answer=None)
        starting.start(
            agent,
            objective=given["objective"],
            by=parent.started_by,
            input=given.get("input"),
            request_id=uuid5(claim.run_id, f"delegate:{step.seq}"),
            deadline_at=_deadline(parent, given.get("deadline_s")),
            delegated=Delegated(parent.pk, step.seq, parent.depth + 1, parent.environment),
        )
    steps.remember(claim, step, "intended", None, "")
    claim.open[step.seq] = Held("intended", step.attempt, None)
    steps.progress(claim)


def _require(parent: Run, agent: Agent) -> None:
    """How deep delegating may go, and on whose behalf: a run that nobody started stays in its team."""
    if parent.depth >= DEEPEST:
        raise errors.Conflict(f"Runs delegate at most {DEEPEST} levels deep; this one is at level {parent.depth}.")
    by: User | None = parent.started_by
    if by is None and agent.team_id != parent.team_id:
        raise errors.Forbidden(f"{agent} belongs to another team, and nobody who may start it there started this run.")


def _deadline(parent: Run, seconds: float | None) -> datetime | None:
    """The earlier of the parent's deadline and the one the program gave."""
    ends = [parent.deadline_at] if parent.deadline_at else []
    if seconds is not None:
        ends.append(steps.now() + timedelta(seconds=seconds))
    return min(ends, default=None)


def awaited(run_id: UUID) -> "QuerySet[Step]":
    """Steps whose child has not ended yet."""
    return Step.objects.filter(run_id=run_id, kind=Step.Kind.DELEGATE, state=Step.State.INTENDED, answer__isnull=True)


def report(child_id: UUID) -> None:
    """Bring what became of a child to its parent, which goes on when nothing else is open, and its cost all the way
    up. Call once, in the transaction that ends it."""
    child = Run.objects.get(pk=child_id)
    above = child.parent_id
    while above is not None:  # one row after the other, upwards: whoever locks two of them does it in this order
        Run.objects.filter(pk=above).update(cost_below=F("cost_below") + child.cost)
        if above == child.parent_id:
            _answer(child)
        above = Run.objects.values_list("parent_id", flat=True).get(pk=above)


def _answer(child: Run) -> None:
    """The child's end is the answer to its step; without anything else open the parent goes on."""
    parent = Run.objects.select_for_update(of=("self",)).get(children=child)
    answer = Answer(ANSWER, None, "", outcome=_outcome(child))
    if not awaited(parent.pk).filter(seq=child.parent_seq or 0).update(answer=hotpath.plain(asdict(answer))):
        return  # the parent has ended, or given it up
    people = Step.objects.filter(run=parent, state__in=["held", "in_doubt"], answer__isnull=True)
    if parent.state == Run.State.WAITING and not people.exists() and not awaited(parent.pk).exists():
        parent.move(to=Run.State.QUEUED, waiting_for="", waits="", wake_at=None, rings=0, rung_at=None)
        signals.run_ready.send(Run, run_id=parent.pk, queue=parent.queue)
        signals.run_changed.send(Run, run_id=parent.pk, agent_id=parent.agent_id, state=parent.state)


def _outcome(child: Run) -> Json:
    """What the parent's program is told."""
    why = child.failure or ("" if child.state == Run.State.COMPLETED else f"The run was {child.state}.")
    cost = None if child.unpriced and not child.cost else str(child.cost + child.cost_below)
    return {"run": str(child.pk), "state": child.state, "result": child.result, "failure": why, "cost": cost}


def close(claim: Claim, step: Planned) -> None:
    """End the step of a child that has ended; what the child cost counts from now on."""
    stored = claim.open[step.seq].answer
    if stored is None:
        return
    outcome = stored["outcome"]
    claim.cost_below = Run.objects.values_list("cost_below", flat=True).get(pk=claim.run_id)
    if outcome["state"] == Run.State.COMPLETED:
        steps.outcome(claim, step, Result("done", outcome))
    else:
        error_class = f"delegated_{outcome['state']}"
        steps.outcome(claim, step, Result("failed", outcome, error_class=error_class, error=outcome["failure"]))
