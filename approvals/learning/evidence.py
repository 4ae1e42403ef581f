"""What speaks for giving an agent more autonomy with one tool, or for taking it away: counted, held to the criteria.

Only what people judged at the tier that holds now counts, and only since that tier holds: what was shown under closer
watch, or before an agent fell back, earns nothing twice.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from django.db.models import Count, Min, Q
from django.utils import timezone

from agents.contracts import Json
from agents.models import Agent, Autonomy, Step
from agents.registry import earning
from agents.wire import say_moment
from approvals.learning import calibration, criteria, outcomes, undone
from approvals.learning.criteria import Drifting, Earning
from approvals.learning.statistics import Share
from approvals.models import Approval, Decision
from approvals.policies.gate import NAME as POLICY

EVER = datetime(2000, 1, 1, tzinfo=UTC)
MANUAL = 4
REFUSED = Q(state=Step.State.REFUSED, gate=POLICY)
"""Steps that a policy refused, in the words of the index that finds them."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was seen of an agent with one tool at one tier: in how many runs, how much of it right, over how many days;
    `violations` are rejections as not allowed and what a policy refused; `red` are acts in the red zone; `undone` were
    taken back without anybody having judged them, of which those drawn as samples are in `judged` too."""

    tool: str
    tier: int
    runs: int
    judged: Share
    violations: int
    red: int
    days: float
    error: float | None
    said: int
    is_high_risk: bool = False
    undone: int = 0

    @property
    def kept(self) -> Json:
        """As a proposal keeps it."""
        low, high = self.judged.interval
        known = asdict(self) | {"judged": self.judged.of, "right": self.judged.right, "interval": [low, high]}
        return known | {"at": say_moment(timezone.now())}


@dataclass(frozen=True, slots=True)
class Requirement:
    """One criterion: what is wanted, what there is, and whether that is enough."""

    name: str
    wanted: str
    found: str
    is_met: bool


def requirements(seen: Evidence, wanted: Earning) -> list[Requirement]:
    """Evidence held to what the milder tier takes. A pure function."""
    share = seen.judged.value
    low, high = seen.judged.interval
    told = (
        "nothing judged"
        if share is None
        else f"{_said(share)} (95 %: {_said(low)} to {_said(high)}, n = {seen.judged.of:,})"
    )
    told += f"; {seen.undone:,} taken back that nobody had judged" if seen.undone else ""
    return [
        Requirement("Runs", f"at least {wanted.runs:,}", f"{seen.runs:,}", seen.runs >= wanted.runs),
        Requirement("Right", f"at least {_said(wanted.right)}", told, share is not None and share >= wanted.right),
        Requirement(
            "Violations", f"at most {wanted.violations}", f"{seen.violations:,}", seen.violations <= wanted.violations
        ),
        Requirement("Days", f"at least {wanted.days}", f"{seen.days:.1f}", seen.days >= wanted.days),
    ]


def _said(share: float) -> str:
    return f"{100 * share:.2f}\N{NO-BREAK SPACE}%"


def floored(seen: Evidence, *, mildest: int, never: Sequence[str]) -> str:
    """Why this never graduates, whatever is shown; empty when it may. A pure function."""
    if seen.tier >= MANUAL:
        return f"{seen.tool} is manual (tier 4): a person does it."
    if seen.tool in never:
        return f"{seen.tool} is on the list of what never graduates (`never` in {criteria.FILE})."
    if seen.is_high_risk:
        return f"{seen.tool} is high risk: a person is asked each time, so it never graduates."
    if seen.red:
        return f"{seen.red:,} of these acts were in the red zone, which never graduates."
    if seen.tier <= mildest:
        what = (
            "the mildest tier there is" if mildest <= earning.MILDEST else f"what its author declared, floor={mildest}"
        )
        return f"It does not go below tier {seen.tier}: {what}."
    return ""


def drifted(seen: Evidence, allowed: Drifting) -> str:
    """Why a tier that was earned is lost at once; empty when it is not. A pure function."""
    if seen.violations:
        return f"{seen.violations:,} violation{'s' * (seen.violations != 1)} since it was earned."
    share = seen.judged.value
    if share is not None and seen.judged.of >= allowed.enough and share < allowed.right:
        return f"Right in {_said(share)} of {seen.judged.of:,} acts; below {_said(allowed.right)} it is lost."
    if seen.error is not None and seen.said >= allowed.enough and seen.error > allowed.calibration_error:
        error, most = _said(seen.error), _said(allowed.calibration_error)
        return f"Its calibration error is {error} in {seen.said:,} acts; above {most} it is lost."
    return ""


def gather(agent: Agent, tool: str) -> Evidence | None:
    """The evidence about an agent with one tool, as it stands; None for what its release does not use."""
    tier = earning.tier(agent, tool)
    if tier is None:
        return None
    return of(agent, tool, tier=tier, since=began(agent, tool))


def began(agent: Agent, tool: str) -> datetime:
    """Since when the tier that holds has held: since it was last earned or lost."""
    last = Autonomy.objects.filter(agent=agent, tool=tool).order_by("-granted_at").first()
    return (last.ended_at or last.granted_at) if last else EVER


def of(agent: Agent, tool: str, *, tier: int, since: datetime) -> Evidence:
    """What people judged of it at this tier since then."""
    found = Approval.objects.filter(agent=agent, tool=tool, tier=tier, decided_at__gte=since)
    counts = outcomes.judged(found).aggregate(
        of=Count("pk"),
        right=Count("pk", filter=outcomes.RIGHTLY),
        runs=Count("run", distinct=True),
        red=Count("pk", filter=Q(zone=Approval.Zone.RED)),
        first=Min("decided_at"),
    )
    known = calibration.of(agent.pk, tool=tool, since=since, drawn=True)
    alone = [one for one in undone.find([agent.pk], tool=tool, since=since) if one.tier == tier]
    first: datetime | None = counts["first"]
    return Evidence(
        tool=tool,
        tier=tier,
        runs=counts["runs"],
        judged=Share(counts["right"], counts["of"] + sum(one.of for one in alone if one.drawn)),
        violations=violations(agent, tool, since=first if since == EVER and first else since),
        red=counts["red"],
        days=(timezone.now() - first).total_seconds() / 86_400 if first else 0.0,
        error=known.error,
        said=known.said.of,
        is_high_risk=earning.is_high_risk(agent, tool),
        undone=sum(one.of for one in alone),
    )


def violations(agent: Agent, tool: str, *, since: datetime) -> int:
    """Acts that people rejected as not allowed, and those that a policy refused."""
    rejected = Decision.objects.filter(
        approval__agent=agent, approval__tool=tool, approval__decided_at__gte=since, code=Decision.Code.NOT_ALLOWED
    )
    refused = Step.objects.filter(REFUSED, agent_id=agent.pk, name=tool, created_at__gte=since)
    return rejected.count() + refused.count()
