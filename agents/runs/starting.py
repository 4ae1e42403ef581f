"""Starting runs: a row first, a message after the commit."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import IntegrityError, transaction

from agents import errors, signals
from agents.audit import log as audit
from agents.contracts import Json
from agents.models import Agent, Permission, Release, Run, User
from agents.registry import programs
from agents.registry.outside import OUTSIDE

SANDBOX = Agent.Environment.SANDBOX


@dataclass(frozen=True, slots=True)
class Delegated:
    """Which run starts this one, with which step, how deep that is, and where: nothing gets out of a sandbox."""

    parent_id: UUID
    seq: int
    depth: int
    environment: str


def start(
    agent: Agent,
    *,
    objective: str,
    by: User | None,
    input: Json | None = None,
    queue: str | None = None,
    request_id: UUID | None = None,
    deadline_at: datetime | None = None,
    release: Release | None = None,
    delegated: Delegated | None = None,
) -> Run:
    """Queue a run of the agent's live release (or of the one given). The same request id again is the same run."""
    chosen = release or agent.release
    if by is not None and not by.may(Permission.START, agent.team_id):
        why = f"You may not start runs of {agent}; that takes the role operator in {agent.team}."
        audit.refuse("run.start", about=agent, by=by, because=why, request_id=request_id)
    if chosen is None:
        raise errors.Conflict(f"{agent} has no live release; publish one with manage.py release publish FILE.")
    if queue == Run.Queue.OUTSIDE:
        raise errors.Invalid("`queue` cannot be outside: no worker takes from there.", field="queue")
    if chosen.program == OUTSIDE:
        raise errors.Conflict(f"{agent} runs elsewhere: its runs begin when it asks the gate, POST /api/v1/gate.")
    if not objective.strip():
        raise errors.Invalid("The objective is empty; say in a sentence what the run is to achieve.", field="objective")
    if request_id and (found := Run.objects.filter(request_id=request_id).first()):
        return _same(found, agent, objective)
    try:
        return _enqueue(agent, chosen, objective.strip(), by, input or {}, queue, request_id, deadline_at, delegated)
    except IntegrityError:
        if request_id and (found := Run.objects.filter(request_id=request_id).first()):
            return _same(found, agent, objective)  # the twin of this request was a moment faster
        raise


def _same(found: Run, agent: Agent, objective: str) -> Run:
    """The run an earlier request with this id started, if it asked for the same."""
    if (found.agent_id, found.objective) != (agent.pk, objective.strip()):
        raise errors.Conflict("This request id started another run; make a new one.", field="request_id")
    return found


@transaction.atomic
def _enqueue(
    agent: Agent,
    release: Release,
    objective: str,
    by: User | None,
    given: Json,
    queue: str | None,
    request_id: UUID | None,
    deadline_at: datetime | None,
    delegated: Delegated | None,
) -> Run:
    is_sandbox = release.state == Release.State.DRAFT or (delegated and delegated.environment == SANDBOX)
    run = Run.objects.create(
        agent=agent,
        release=release,
        team_id=agent.team_id,
        program_digest=programs.program_digest(release),
        objective=objective,
        input=given,
        environment=SANDBOX if is_sandbox else agent.environment,
        queue=queue or (Run.Queue.MODEL if release.chain else Run.Queue.TOOL),
        started_by=by,
        request_id=request_id,
        deadline_at=deadline_at,
        parent_id=delegated.parent_id if delegated else None,
        parent_seq=delegated.seq if delegated else None,
        depth=delegated.depth if delegated else 0,
    )
    programs.keep(release)
    audit.record("run.started", about=run, by=by, request_id=request_id, agent=agent.slug)
    signals.run_ready.send(Run, run_id=run.pk, queue=run.queue)
    signals.run_changed.send(Run, run_id=run.pk, agent_id=agent.pk, state=run.state)
    return run
