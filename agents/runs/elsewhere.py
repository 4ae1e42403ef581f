"""Runs whose driver is elsewhere: the sessions of agents that ask here before they act.

Such a run is `waiting` from its first call to its end, since no worker of ours ever has it: for a person while a call
of it is held, else for its agent. Each gated call is a step. That a call was let through is all that is known here:
what came of it happened elsewhere.
"""

from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import F, Max, QuerySet
from django.db.models.functions import Coalesce
from django.utils import timezone

from agents import errors, signals
from agents.audit import log as audit
from agents.audit.transactions import CurrentXidNumber
from agents.contracts import Action, Answer, Json, Verdict
from agents.models import Agent, Run, Step, StepPayload, User
from agents.registry import outside, programs
from agents.runs import hotpath

IDLE = timedelta(hours=1)


def is_elsewhere(run: Run) -> bool:
    """Whether no worker of ours drives this run."""
    return run.queue == Run.Queue.OUTSIDE


def begin(agent: Agent, *, objective: str, session: str, by: User) -> Run:
    """A session of an agent, from its first call on. Call inside a transaction."""
    if agent.release is None:
        raise errors.Conflict(f"{agent} has no live release; publish one with manage.py release publish FILE.")
    now = timezone.now()
    run: Run = Run.objects.create(
        agent=agent,
        release=agent.release,
        team_id=agent.team_id,
        program_digest=programs.program_digest(agent.release),
        objective=objective,
        input={"session": session} if session else {},
        environment=agent.environment,
        state=Run.State.WAITING,
        waits=Run.Waits.OUTSIDE,
        waiting_for=Run.Waits.OUTSIDE.label,
        queue=Run.Queue.OUTSIDE,
        started_by=by,
        started_at=now,
    )
    audit.record("run.started", about=run, by=by, agent=agent.slug, session=session)
    _tell(run)
    return run


def locked(run_id: UUID) -> Run:
    """The run as it is now, kept so to the commit."""
    runs = Run.objects.select_for_update(of=("self",)).select_related("agent", "release")
    run: Run = runs.get(pk=run_id)
    return run


def next_seq(run: Run) -> int:
    """The place of the next call. Call under the run's lock."""
    last: int = run.steps.aggregate(last=Coalesce(Max("seq"), 0))["last"]
    return last + 1


def keep(run: Run, action: Action, verdict: Verdict, *, state: str, context: Json, refused_as: str = "") -> None:
    """Store a call as a step: let through, held or refused. Call under the run's lock."""
    now, is_open = timezone.now(), state == Step.State.HELD
    given = {"arguments": action.arguments, "context": context} if context else {"arguments": action.arguments}
    StepPayload.objects.create(run=run, seq=action.seq, input=hotpath.plain(given))
    Step.objects.create(
        run=run,
        seq=action.seq,
        turn=action.seq,
        agent_id=action.agent_id,
        kind=Step.Kind.TOOL,
        name=action.name,
        state=state,
        says=action.says,
        tier=action.tier,
        writes=action.writes,
        confidence=action.confidence.value,
        confidence_source=action.confidence.source.value,
        gate=verdict.gate,
        gate_reason=verdict.reason,
        in_force={"release": action.release},
        started_at=now if state == Step.State.DONE else None,
        finished_at=None if is_open else now,
        error_class=refused_as,
        error=verdict.reason if refused_as else "",
        simulated=False,
    )
    _count(run, 0 if is_open else 1)
    attend(run)


def let_through(run: Run, seq: int, arguments: Json) -> None:
    """A held call goes ahead, with these arguments. Call under the run's lock, once every gate has admitted it."""
    payload = StepPayload.objects.get(run=run, seq=seq)
    payload.input = {**(payload.input or {}), "arguments": hotpath.plain(arguments)}  # what it told around it stays
    payload.save(update_fields=["input"])
    _close(run, seq, Step.State.DONE, started_at=timezone.now())
    attend(run)


def heed(run: Run, seq: int, answer: Answer) -> None:
    """What came of the question about a held call: what was allowed waits for its agent to come back, and so does what
    may go on unanswered; the rest is closed. Call under the run's lock, with the answer stored."""
    if answer.kind == "outcome":
        StepPayload.objects.filter(run=run, seq=seq).update(output=hotpath.plain(answer.outcome))
        _close(run, seq, Step.State.DONE, gate_reason=f"Done by {answer.by_name}. {answer.reason}".strip())
    elif answer.kind == "asked":
        refuse(run, seq, "asked", f"{answer.by_name} asks: {answer.reason}")
    elif answer.kind == "expired":
        refuse(run, seq, "expired", answer.reason)
    elif answer.kind not in {"approved", "edited", "lapsed"}:
        refuse(run, seq, answer.kind, f"{answer.kind.capitalize()} by {answer.by_name}: {answer.reason}")
    attend(run)


def refuse(run: Run, seq: int, kind: str, reason: str) -> None:
    """A held call does not go ahead. Call under the run's lock."""
    _close(run, seq, Step.State.REFUSED, error_class=kind, error=reason, gate_reason=reason)
    attend(run)


def fails_open(run: Run, tool: str) -> bool:
    """Whether the owner of a tool lets its agent go on when nobody answers."""
    found = outside.find_known(run.release.bundle, tool)
    return found is not None and found.fails_open


def attend(run: Run) -> None:
    """Note for whom a session waits: a person while a call of it is held without an answer, else its agent."""
    if run.state == Run.State.WAITING:
        waits = Run.Waits.APPROVAL if _held(run).filter(answer__isnull=True).exists() else Run.Waits.OUTSIDE
        run.waits, run.waiting_for, run.changed_at = waits, waits.label, timezone.now()
        run.save(update_fields=["waits", "waiting_for", "changed_at"])
    _tell(run)


def go_on(run: Run) -> None:
    """A paused session is let on: it waits for its agent, or for people. Call under the run's lock."""
    run.move(to=Run.State.WAITING, asked="", waits=Run.Waits.OUTSIDE, waiting_for=Run.Waits.OUTSIDE.label)
    attend(run)


def end(run: Run) -> bool:
    """A session is over. False where it may go on: a person has paused it, or a call of it is held and its approval is
    still good. Call under the run's lock."""
    if run.state != Run.State.WAITING or _held(run).exists():
        return False
    taken = run.steps.filter(finished_at__isnull=False).count()
    run.move(to=Run.State.COMPLETED, steps_done=taken, result={"calls": taken})
    _tell(run)
    return True


def end_idle(*, limit: int = 200) -> int:
    """End the sessions in which nothing was asked for an hour; how many. For the tick."""
    idle = Run.objects.filter(queue=Run.Queue.OUTSIDE, state=Run.State.WAITING, waits=Run.Waits.OUTSIDE)
    idle = idle.filter(changed_at__lt=timezone.now() - IDLE)
    return sum(_end(idle, pk) for pk in list(idle.order_by("changed_at").values_list("pk", flat=True)[:limit]))


@transaction.atomic
def _end(idle: QuerySet[Run], pk: UUID) -> bool:
    """Looked at again under its lock: its agent may have come back."""
    run = idle.select_for_update(of=("self",), skip_locked=True).filter(pk=pk).first()
    return run is not None and end(run)


def _close(run: Run, seq: int, state: str, *, started_at: datetime | None = None, **more: str) -> None:
    fields = {**more, "state": state, "finished_at": timezone.now(), "xid": CurrentXidNumber()}
    if not _held(run).filter(seq=seq).update(**fields, **({"started_at": started_at} if started_at else {})):
        raise errors.Conflict("This call is not held any more.")
    _count(run, 1)


def _held(run: Run) -> QuerySet[Step]:
    held: QuerySet[Step] = Step.objects.filter(run=run, state=Step.State.HELD)
    return held


def _count(run: Run, more: int) -> None:
    Run.objects.filter(pk=run.pk).update(steps_done=F("steps_done") + more)


def _tell(run: Run) -> None:
    signals.run_changed.send(Run, run_id=run.pk, agent_id=run.agent_id, state=run.state)
