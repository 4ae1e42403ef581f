"""The API's doors to calibration: how sure an agent says it is, against how right it was, and the threshold that
follows."""

from typing import Any, Self
from uuid import UUID

from django.utils import timezone
from ninja import Query, Router, Schema
from pydantic import Field
from uuid_utils.compat import uuid7

from agents.models import Agent
from agents.registry.api import visible_agent
from agents.runs.override_api import OverrideOut
from agents.wire import ActorRequest, Body, Out
from approvals.learning import calibration as calibrations
from approvals.learning import criteria, thresholds
from approvals.learning.calibration import Calibration
from approvals.learning.statistics import Bin, Share
from approvals.learning.thresholds import Proposal

router = Router(tags=["calibration"])


class ShareOut(Out):
    """So many right, of so many; the interval is at 95 %."""

    right: int
    of: int
    low: float
    high: float

    @classmethod
    def of_share(cls, share: Share) -> Self:
        """With its interval."""
        low, high = share.interval
        return cls(right=share.right, of=share.of, low=low, high=high)


class OutcomesOut(Out):
    """How many acts came to what; `undone` are those of `corrected` that nobody had judged."""

    approved: int
    verified: int
    edited: int
    rejected: int
    corrected: int
    undone: int


class BinOut(Out):
    """A tenth of the scale: what was said there in the mean, and how often that was right."""

    low: float
    high: float
    said: float
    share: ShareOut

    @classmethod
    def of(cls, one: Bin) -> Self:
        """As it was counted."""
        return cls.taken_from(one, share=ShareOut.of_share(one.share))


class ThresholdOut(Out):
    """A confidence from which on the agent is right often enough, and the parameter that it is for: the tool's own, or
    that of all tools. `covers` of all that had a confidence."""

    parameter: str
    value: float
    share: ShareOut
    covers: ShareOut

    @classmethod
    def of(cls, one: Proposal) -> Self | None:
        """Null where no threshold does."""
        found = one.threshold
        if found is None:
            return None
        shares = {"share": ShareOut.of_share(found.share), "covers": ShareOut.of_share(found.covers)}
        return cls(parameter=one.parameter, value=found.value, **shares)


class CalibrationOut(Out):
    """One agent, with one tool or with all of them. `said` are the acts with a confidence, of those `judged`;
    `outcomes` are what came of them."""

    agent: str
    tool: str | None
    days: int
    judged: ShareOut
    said: ShareOut
    outcomes: OutcomesOut
    error: float | None
    bins: list[BinOut]
    threshold: float | None
    held_by: str | None
    proposed: ThresholdOut | None
    tools: list[str]

    @classmethod
    def of_agent(cls, agent: Agent, found: Calibration, whole: Calibration, tools: list[str]) -> Self:
        """With the threshold in force and the one that the figures speak for."""
        held = thresholds.in_force(agent, found.tool)
        proposal = thresholds.proposed(whole, found if found.tool else None)
        return cls(
            agent=agent.slug,
            tool=found.tool or None,
            days=criteria.current().calibration.days,
            judged=ShareOut.of_share(found.judged),
            said=ShareOut.of_share(found.said),
            outcomes=OutcomesOut.taken_from(found.outcomes),
            error=found.error,
            bins=[BinOut.of(one) for one in found.bins],
            threshold=held.value,
            held_by=held.parameter or None,
            proposed=ThresholdOut.of(proposal),
            tools=tools,
        )


class OfTool(Schema):
    """One tool, or all of them."""

    tool: str = Field("", max_length=160, description="A tool; all of them when left out.")


class ThresholdIn(Body):
    """A threshold to be put in force, for one tool or for all."""

    tool: str = Field("", max_length=160)
    value: Any
    reason: str = ""
    request_id: UUID | None = None


@router.get(
    "/{slug}/calibration", response=CalibrationOut, operation_id="get_calibration", summary="How right an agent is"
)
def get_calibration(request: ActorRequest, slug: str, of: Query[OfTool]) -> CalibrationOut:
    """Over the decisions of the last days that the criteria name."""
    agent = visible_agent(request.actor, slug)
    known = calibrations.of_agents([agent.pk], since=calibrations.since(timezone.now())).get(agent.pk, ())
    whole = calibrations.together(known)
    found = calibrations.one_of(known, of.tool) if of.tool else whole
    return CalibrationOut.of_agent(agent, found, whole, [one.tool for one in known])


@router.post(
    "/{slug}/thresholds",
    response={201: OverrideOut},
    operation_id="put_threshold",
    summary="Put a threshold in force",
)
def put_threshold(request: ActorRequest, slug: str, body: ThresholdIn) -> OverrideOut:
    """For a week, from the next step of each run on."""
    agent = visible_agent(request.actor, slug)
    given = {"tool": body.tool, "value": body.value, "reason": body.reason, "request_id": body.request_id or uuid7()}
    return OverrideOut.of(thresholds.put_in_force(agent, by=request.actor, **given))
