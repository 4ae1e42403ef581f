"""Scripted runs of the cast's agent, driven by the real runner as far as they may go alone."""

from typing import Any

from agents.models import Agent, Run, User
from agents.runs import runner, starting
from approvals.models import Approval
from tests import factories

Stage = tuple[str, dict[str, Any]]


def start(agent: Agent, by: User, *stages: Stage, objective: str = "Ticket 882.", **bundle: Any) -> Run:
    """A run that uses these tools one after the other, whatever becomes of each."""
    script = [{"tool": tool, "arguments": given, "on_error": "continue"} for tool, given in stages]
    tools = sorted({tool for tool, _ in stages})
    release = factories.release(agent, program="pipeline", pipeline=script, tools=tools, models=[], **bundle)
    return drive(starting.start(agent, objective=objective, by=by, release=release))


def drive(run: Run) -> Run:
    """What a worker does when it is rung."""
    runner.drive(run.pk)
    run.refresh_from_db()
    return run


def asked(run: Run) -> Approval:
    """The open question of a run."""
    found: Approval = Approval.objects.get(run=run, state=Approval.State.OPEN)
    return found
