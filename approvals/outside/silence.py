"""What silence means for a call from elsewhere: no. Only where the owner of its tool chose otherwise, and nothing but
the tool's own tier or the agent's confidence asked for a person, may its agent go on, for a time.

What a policy, a level, a vote or the red zone demands stands above an owner's wish. It is judged when the question
lapses, and again when its agent comes.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.conf import settings
from django.utils import timezone

from agents.contracts import Action, Stance, Tier, Verdict
from agents.runs import elsewhere
from approvals import gates, terms
from approvals.models import Approval

LAPSED = "lapsed"
"""The kind of answer that the engine gets: nobody answered, and the act may go on without."""
MILD = frozenset({gates.NAME, gates.UNSURE})
"""The gates that an owner's wish stands above."""


def objection(approval: Approval) -> str:
    """Why nobody's answer is no, in a clause; empty where its owner lets it go on. Needs run and its release."""
    if not elsewhere.is_elsewhere(approval.run) or not elsewhere.fails_open(approval.run, approval.tool):
        return "silence is not consent"
    if approval.tier >= Tier.MANUAL:
        return "what is manual (tier 4) is done by a person"
    demanded = _demanded(approval.level, approval.votes_needed, approval.zone)
    return demanded or _strict(str(one["gate"]) for one in approval.reasons)


def lasts() -> timedelta:
    """How long after its question lapsed an agent may still come for it: as long as an approval is good."""
    return timedelta(hours=settings.APPROVAL_HOURS)


def until(approval: Approval) -> datetime:
    """The moment from which on that is over, too."""
    return (approval.expires_at or approval.requested_at) + lasts()


def objection_now(approval: Approval) -> str:
    """The same when its agent asks: besides, it has lapsed, and not so long ago. How it ended is kept with its step."""
    if why := objection(approval):
        return why
    if approval.is_open:
        return ""
    answer = approval.run.steps.filter(seq=approval.seq).values_list("answer", flat=True).first()
    if not answer or answer["kind"] != LAPSED:
        return "its escalation policy rejects what nobody answers"
    if until(approval) <= timezone.now():
        return f"its agent could go on without until {until(approval):%Y-%m-%d %H:%M} UTC"
    return ""


def objection_of_gates(verdict: Verdict, action: Action) -> str:
    """Why the gates as they judge it now want more than silence."""
    if verdict.stance == Stance.DENY:
        return verdict.reason
    if action.tier >= Tier.MANUAL:
        return "what is manual (tier 4) is done by a person"
    if verdict.stance == Stance.ALLOW:
        return ""
    asked = terms.of(verdict)
    return _demanded(asked.level, asked.votes, asked.zone) or _strict(one["gate"] for one in asked.reasons)


def _demanded(level: int, votes: int, zone: str) -> str:
    if level > 1 or votes > 1:
        return f"it takes L{level}" + (f" by {votes} people" if votes > 1 else "")
    return "it is in the red zone" if zone == Approval.Zone.RED else ""


def _strict(names: Iterable[str]) -> str:
    strict = next((name for name in names if name not in MILD), "")
    return f"{strict} asks for a person" if strict else ""
