"""The sessions of agents elsewhere: which run keeps the calls of one, and why people let nothing of it happen."""

from agents.models import Agent, Control, Run, User
from agents.runs import elsewhere
from approvals.outside.calls import Call
from approvals.outside.models import OutsideSession


def enter(agent: Agent, by: User, name: str) -> OutsideSession:
    """The session of that name, kept to the commit: one call of it at a time."""
    OutsideSession.objects.get_or_create(agent=agent, by=by, name=name)
    session: OutsideSession = OutsideSession.objects.select_for_update().get(agent=agent, by=by, name=name)
    return session


def run_of(session: OutsideSession) -> Run | None:
    """The run that keeps this session now, locked. One that has ended is done with, but for a session with a name that
    somebody cancelled: that is a piece of work, and it stays cancelled."""
    run = elsewhere.locked(session.run_id) if session.run_id else None
    is_cancelled = run is not None and run.state == Run.State.CANCELLED and session.name
    return None if run is None or (run.is_ended and not is_cancelled) else run


def going_on(session: OutsideSession, run: Run | None, agent: Agent, call: Call, *, by: User) -> Run:
    """The run to keep this call in: the one there is, or a new one where its release is another."""
    if run is not None and run.release_id == agent.release_id:
        return run
    if run is not None:
        elsewhere.end(run)  # or an hour after its last held call is closed
    objective = call.objective or (f"Session {session.name}" if session.name else f"What {agent.name} asks")
    session.run = elsewhere.begin(agent, objective=objective, session=session.name, by=by)
    session.save(update_fields=["run"])
    return session.run


def steered(run: Run | None, agent: Agent) -> str:
    """Why people let nothing of this run, or of its agent, happen now; empty when they do."""
    if agent.frozen_at is not None:
        return _told(f"{agent} is frozen", agent.frozen_by, agent.frozen_reason)
    if run is None or run.state not in (Run.State.PAUSED, Run.State.CANCELLED):
        return ""
    verb = Control.Verb.PAUSE if run.state == Run.State.PAUSED else Control.Verb.CANCEL
    last = Control.objects.select_related("by").filter(run=run, verb=verb).order_by("-asked_at").first()
    return _told(f"This session was {run.state}", last.by if last else None, last.reason if last else "")


def _told(what: str, by: User | None, reason: str) -> str:
    return f"{what} by {by.name if by else 'the cockpit'}: {reason}".rstrip(":. ") + "."
