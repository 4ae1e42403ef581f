"""The API's door to calibration: how sure an agent says it is, against how right it was."""

from typing import Self

from django.utils import timezone
from ninja import Query, Router, Schema
from pydantic import Field

from agents.models import Agent
from agents.registry.api import visible_agent
from agents.wire import ActorRequest, Out
from approvals.learning import calibration as calibrations
from approvals.learning import criteria
from approvals.learning.calibration import Calibration
from approvals.learning.statistics import Bin, Share, Threshold

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
    """A confidence from which on the agent is right often enough; `covers` of all that had a confidence."""

    value: float
    share: ShareOut
    covers: ShareOut

    @classmethod
    def of(cls, found: Threshold | None) -> Self | None:
        """Null where no threshold does."""
        if found is None:
            return None
        return cls(value=found.value, share=ShareOut.of_share(found.share), covers=ShareOut.of_share(found.covers))


class CalibrationOut(Out):
    """One agent, with one tool or with all of them. `said` are the acts with a confidence, of those `judged`."""

    agent: str
    tool: str | None
    days: int
    judged: ShareOut
    said: ShareOut
    error: float | None
    bins: list[BinOut]
    threshold: float | None
    proposed: ThresholdOut | None
    tools: list[str]

    @classmethod
    def of_agent(cls, agent: Agent, found: Calibration, whole: Calibration, tools: list[str]) -> Self:
        """With the threshold in force and the one that the figures of all its tools speak for."""
        return cls(
            agent=agent.slug,
            tool=found.tool or None,
            days=criteria.current().calibration.days,
            judged=ShareOut.of_share(found.judged),
            said=ShareOut.of_share(found.said),
            error=found.error,
            bins=[BinOut.of(one) for one in found.bins],
            threshold=calibrations.in_force(agent).value,
            proposed=ThresholdOut.of(whole.proposed()),
            tools=tools,
        )


class OfTool(Schema):
    """One tool, or all of them."""

    tool: str = Field("", max_length=160, description="A tool; all of them when left out.")


@router.get(
    "/{slug}/calibration", response=CalibrationOut, operation_id="get_calibration", summary="How right an agent is"
)
def get_calibration(request: ActorRequest, slug: str, of: Query[OfTool]) -> CalibrationOut:
    """Over the decisions of the last days that the criteria name."""
    agent = visible_agent(request.actor, slug)
    since = calibrations.since(timezone.now())
    tools = [one.tool for one in calibrations.of_agents([agent.pk], since=since).get(agent.pk, ())]
    whole = calibrations.of(agent.pk, since=since)
    found = calibrations.of(agent.pk, tool=of.tool, since=since) if of.tool else whole
    return CalibrationOut.of_agent(agent, found, whole, tools)
