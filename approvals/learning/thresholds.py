"""Below which confidence a person looks first: what holds for an agent and for each of its tools, what the figures
speak for, and putting that in force.

A tool with enough figures of its own gets a threshold of its own; the others are held to that of all tools. A person
puts it in force, for a time, as an override; what shall hold for good is a release.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from django.utils import timezone

from agents import errors
from agents.contracts import Json, Risk
from agents.models import Agent, Override, Permission, User
from agents.registry import declarations, parameters, thresholds
from agents.runs import overriding
from approvals.learning import calibration, criteria, statistics
from approvals.learning.calibration import Calibration
from approvals.learning.statistics import Threshold
from approvals.policies import effective

Changes = Mapping[str, Override]
"""What is changed of an agent now, by parameter."""


# --- what holds -------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class InForce:
    """What holds for a tool, and the `parameter` that says so: its own, or that of all tools. `value` is None where
    nobody set one; `override` is set where it holds for a time. `own` is the tool's own where that of all is stricter
    for a time."""

    value: float | None = None
    parameter: str = ""
    override: Override | None = None
    own: float | None = None

    @property
    def is_own(self) -> bool:
        """Whether the tool has it for itself."""
        return self.parameter not in ("", thresholds.ALL)


def changed(agent: Agent) -> Changes:
    """What is changed of all runs of an agent now."""
    return {one.parameter: one for one in overriding.in_force(agent)}


def in_force(agent: Agent, tool: str = "", *, changes: Changes | None = None) -> InForce:
    """The threshold of an agent with one tool, or of all without one of their own. `changes` are the agent's, where
    they were looked up already."""
    bundle = _bundle(agent)
    changes = changed(agent) if changes is None else changes
    if tool and not parameters.heeds(bundle, tool):
        return InForce()
    held = thresholds.held(parameters.applied(bundle, effective.changes(changes.values())), tool)
    return InForce(held.value, held.parameter, changes.get(held.parameter), held.own) if held else InForce()


def _bundle(agent: Agent) -> Json:
    return agent.release.bundle if agent.release else {}


# --- what the figures speak for ---------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Proposal:
    """What follows for one tool, or for all of them (`tool` empty): a threshold, or None where none does. `of` acts
    with a confidence were judged; `too_few` are those of the tool that was asked about, where they were not enough and
    this is what follows for all tools instead."""

    tool: str
    threshold: Threshold | None
    of: int
    too_few: int | None = None

    @property
    def parameter(self) -> str:
        """What is changed when it is put in force."""
        return thresholds.parameter(self.tool)


def proposed(whole: Calibration, of_tool: Calibration | None = None) -> Proposal:
    """For a tool from its own figures where they are enough, or else from those of all tools. Enough figures that speak
    for no threshold are no reason to look at other tools: the tool is not right often enough, however sure it is."""
    wanted = criteria.current().calibration
    known = of_tool if of_tool is not None and of_tool.said.of >= wanted.enough else whole
    found = statistics.threshold(known.cells, target=wanted.target, enough=wanted.enough)
    too_few = of_tool.said.of if of_tool is not None and known is whole else None
    return Proposal(known.tool, found, known.said.of, too_few)


# --- putting it in force ----------------------------------------------------------------------------------------------
def objection(agent: Agent, tool: str = "") -> str:
    """Why a threshold of this tool would hold nothing; empty when it would."""
    bundle, path = _bundle(agent), thresholds.parameter(tool)
    if path in {one.path for one in parameters.parameters(bundle)}:
        return ""
    if thresholds.ALL not in {one.path for one in parameters.parameters(bundle)}:
        return f"{agent} has no release whose threshold could be changed."
    if tool in bundle.get("tools", ()):
        return f"{tool} only reads; only what writes waits for being unsure."
    return f"{tool} is not among the tools of {agent} as it is released now."


def moot(agent: Agent, tool: str) -> str:
    """Why each act of this tool asks a person already, whatever its threshold; empty when it does not."""
    bundle = effective.bundle(agent) if tool else {}
    if tool not in bundle.get("tools", ()) or not parameters.heeds(bundle, tool):
        return ""
    tier = parameters.value(bundle, f"tiers.{tool}")
    if declarations.risk_of(bundle, tool, writes=True) == Risk.HIGH:
        return f"{tool} is high risk: a person is asked each time, however sure it is."
    if tier >= 3:
        return f"{tool} is tier {tier} now: a person is asked each time. A threshold holds at tiers 1 and 2."
    return ""


def refusal(agent: Agent, tool: str, value: float | None, *, by: User) -> str:
    """Why this person can put no threshold, or not this one, in force; empty when they can. Needs team and release."""
    if why := objection(agent, tool):
        return why
    if not by.may(Permission.STEER, agent.team_id):
        return f"Changing the threshold takes the role operator or governance in {agent.team}."
    path = thresholds.parameter(tool)
    least = parameters.allowed(_bundle(agent), path)
    if value is None or not parameters.is_milder(path, least, value) or by.may(Permission.PUBLISH, agent.team_id):
        return ""
    why = f"By its release it is {least:g}; a lower one shows fewer acts to people"
    return f"{why}, which takes the role governance in {agent.team}."


def put_in_force(agent: Agent, *, tool: str = "", value: object, by: User, reason: str, request_id: UUID) -> Override:
    """Put a threshold of one tool, or of all, in force for as long as an override of all runs of an agent may hold. The
    audit log keeps what it rested on. Who may, and whether the value fits, is as for any override."""
    if overriding.may(agent, by=by) and (why := objection(agent, tool)):
        raise errors.Conflict(why, field="tool")
    return overriding.override(
        agent,
        parameter=thresholds.parameter(tool),
        value=value,
        by=by,
        reason=reason,
        request_id=request_id,
        expires_at=timezone.now() + overriding.LONGEST,
        evidence=_evidence(agent, tool, value),
    )


def _evidence(agent: Agent, tool: str, value: object) -> Json:
    """How right the agent was at or above a value; nothing for what is none, which is refused further on."""
    try:
        least = float(str(value))
    except ValueError:
        return {}
    if not math.isfinite(least):
        return {}
    known = calibration.of(agent.pk, tool=tool, since=calibration.since(timezone.now()))
    above = statistics.at_or_above(known.cells, least)
    return {"days": criteria.current().calibration.days, "right": above.right, "of": above.of, "said": known.said.of}
