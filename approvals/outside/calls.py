"""A call of an agent elsewhere, as it comes in, and the action that gates judge it by."""

from dataclasses import dataclass, field
from uuid import UUID

from agents.contracts import UNKNOWN, Action, Answer, Confidence, Json, Source
from agents.models import Agent, Run
from agents.registry import outside, thresholds
from agents.registry.outside import OutsideTool
from agents.tools import checking
from approvals import integrity
from approvals.policies import effective

UNKNOWN_TIER = 4


@dataclass(frozen=True, slots=True)
class Call:
    """What an agent wants to do, with what it says around it. `context` is for policies and people to read;
    `approval` is the question that it was held by, when it asks again."""

    tool: str
    arguments: Json
    context: Json = field(default_factory=dict)
    session: str = ""
    objective: str = ""
    confidence: float | None = None
    approval: UUID | None = None

    def digest(self, agent: Agent) -> str:
        """The name of exactly this call: a request id stands for one."""
        what = {"agent": str(agent.pk), "tool": self.tool, "approval": str(self.approval)}
        return integrity.digest(what, self.arguments)

    @property
    def sure(self) -> Confidence:
        """How sure the agent says it is."""
        return UNKNOWN if self.confidence is None else Confidence(self.confidence, Source.SELF_REPORTED)


@dataclass(frozen=True, slots=True)
class Considered:
    """A call with what this installation knows of it. `wrong` says why it cannot be judged at all: an unknown tool,
    arguments that do not fit."""

    action: Action
    tool: OutsideTool | None
    wrong: str = ""
    gate: str = ""


def consider(agent: Agent, call: Call, *, run: Run, seq: int, answer: Answer | None = None) -> Considered:
    """The call by the agent's release as it is now, with what people have made stricter for a time."""
    assert agent.release is not None
    bundle = effective.of_run(run, agent.release.bundle)
    tool = outside.find(bundle, agent.slug, call.tool)
    action = Action(
        run_id=run.pk,
        seq=seq,
        kind="tool",
        name=tool.name if tool else f"{agent.slug}.{call.tool}"[:160],
        arguments=call.arguments,
        agent_id=agent.pk,
        agent=agent.slug,
        release_id=agent.release.pk,
        release=agent.release.version,
        team_id=agent.team_id,
        environment=Agent.Environment.LIVE,  # it really acts
        tier=tool.tier if tool else UNKNOWN_TIER,
        writes=tool.writes if tool else True,
        risk=tool.risk if tool else None,
        confidence=call.sure,
        says=tool.sentence(call.arguments) if tool else f"Use {call.tool}, which its release does not describe",
        facts={"context": call.context, **thresholds.facts(bundle, tool.name if tool else "")},
        answer=answer,
    )
    if tool is None:
        known = ", ".join(bundle["outside"])
        wrong = f"{call.tool} is not among the tools of {agent} {agent.release.version} ({known})."
        return Considered(action, None, wrong, "grants")
    return Considered(action, tool, _wrong(tool, call.arguments), "arguments")


def _wrong(tool: OutsideTool, arguments: Json) -> str:
    return " ".join(f"{tool.name}: {one}" for one in checking.problems(tool, arguments).values())
