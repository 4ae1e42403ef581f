"""What came true of an act that a person judged: the one definition that labels, calibration and autonomy share.

Right is what was let through as it stood and never taken back. Wrong is what was changed, refused, or taken back later.
All else says nothing about the agent: what people do themselves, doubts after a crash, acts that take others back, and
questions that asked about no act or about one that was planted.
"""

from django.db.models import Exists, OuterRef, Q

from agents.models import Step
from approvals.models import Approval, ApprovalQuerySet, Decision

JUDGEMENTS = frozenset({Decision.Answer.APPROVE, Decision.Answer.EDIT, Decision.Answer.REJECT})
JUDGING = frozenset({Approval.Kind.ACT, Approval.Kind.SAMPLE})
MANUAL = 4


def taken_back(of: str = "") -> Exists:
    """Whether the act of an approval, `of` the row at hand, was taken back."""
    step = Step.objects.filter(run_id=OuterRef(f"{of}run_id"), compensates=OuterRef(f"{of}seq"), state=Step.State.DONE)
    return Exists(step)


def judged(found: ApprovalQuerySet) -> ApprovalQuerySet:
    """Those of them that say whether an agent was right, with `is_taken_back`; which then lies in `RIGHTLY`. Of a
    sample nothing is bound, so that a comparison with a part of it would be neither true nor false."""
    about_acts = found.filter(state__in=Approval.DECIDED, kind__in=JUDGING, tier__lt=MANUAL, plant=None)
    plain = about_acts.exclude(bound__contains={"kind": "model"}).exclude(bound__has_key="compensates")
    counted: ApprovalQuerySet = plain.annotate(is_taken_back=taken_back())
    return counted


RIGHTLY = Q(state=Approval.State.APPROVED, is_taken_back=False)
"""Of what `judged` found: those in which the agent was right."""


def was_right(decision: Decision, *, is_taken_back: bool) -> bool | None:
    """The same of what one decision was about; None where it does not say, or others have yet to vote."""
    asked = decision.approval
    is_act = asked.kind in JUDGING and not asked.is_manual and asked.bound.get("kind") != "model"
    if hasattr(asked, "plant") or not is_act or asked.compensates is not None or decision.answer not in JUDGEMENTS:
        return None
    if asked.state not in Approval.DECIDED:
        return None
    return asked.state == Approval.State.APPROVED and not is_taken_back
