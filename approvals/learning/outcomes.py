"""What came true of an act: the one definition that labels, calibration and autonomy share.

A person let it through as it stood (approved), or looked at it afterwards and found it right (verified): it was right.
It was changed, refused, or corrected later, found wrong or taken back by people: it was wrong. All else says nothing
about the agent: what people do themselves, doubts after a crash, acts that take others back, questions that asked about
no act or about one that was planted. Nor does it when a run fails and takes back what it did: what fails is often
another act, or another system, and those before it may have been right.
"""

from dataclasses import astuple, dataclass
from typing import Self

from django.db.models import Case, Exists, OuterRef, Q, QuerySet, Subquery, TextChoices, Value, When

from agents.models import Run, Step
from approvals.learning.statistics import Share
from approvals.models import Approval, ApprovalQuerySet, Decision


class Outcome(TextChoices):
    """What came of an act that says whether its agent was right. One each, the first three words before it happens."""

    APPROVED = "approved", "approved as it stood"
    EDITED = "edited", "edited"
    REJECTED = "rejected", "rejected"
    VERIFIED = "verified", "found right afterwards"
    CORRECTED = "corrected", "corrected later"


RIGHT = frozenset({Outcome.APPROVED, Outcome.VERIFIED})
JUDGEMENTS = frozenset({Decision.Answer.APPROVE, Decision.Answer.EDIT, Decision.Answer.REJECT})
JUDGING = frozenset({Approval.Kind.ACT, Approval.Kind.SAMPLE})
MANUAL = 4


@dataclass(frozen=True, slots=True)
class Outcomes:
    """How many acts came to what. `undone` are those of the corrected that were taken back without anybody having
    judged them."""

    approved: int = 0
    verified: int = 0
    edited: int = 0
    rejected: int = 0
    corrected: int = 0
    undone: int = 0

    @property
    def share(self) -> Share:
        """How many of them were right."""
        right = self.approved + self.verified
        return Share(right, right + self.edited + self.rejected + self.corrected)

    def __add__(self, other: Self) -> "Outcomes":
        """Both together."""
        return Outcomes(*(one + more for one, more in zip(astuple(self), astuple(other), strict=True)))


CANCELLED = Q(run__state=Run.State.CANCELLED) | Q(run__ending__state=Run.State.CANCELLED)


def taking_back() -> QuerySet[Step]:
    """The steps by which people had an act taken back: somebody answered that it shall be, or cancelled the run."""
    done = Step.objects.filter(compensates__isnull=False, state=Step.State.DONE)
    return done.filter(Q(answer__isnull=False) | CANCELLED)


def judged(found: ApprovalQuerySet) -> ApprovalQuerySet:
    """Those of them that say whether an agent was right, each with what it `came_to`. Of a sample nothing is bound, so
    that a comparison with a part of it would be neither true nor false."""
    about_acts = found.filter(state__in=Approval.DECIDED, kind__in=JUDGING, tier__lt=MANUAL, plant=None)
    plain = about_acts.exclude(bound__contains={"kind": "model"}).exclude(bound__has_key="compensates")
    back = taking_back().filter(run_id=OuterRef("run_id"), compensates=OuterRef("seq"))
    counted: ApprovalQuerySet = plain.annotate(is_taken_back=Exists(back)).annotate(came_to=_OF_JUDGED)
    return counted


_OF_JUDGED = Case(
    When(state=Approval.State.EDITED, then=Value(Outcome.EDITED)),
    When(state=Approval.State.REJECTED, kind=Approval.Kind.ACT, then=Value(Outcome.REJECTED)),
    When(Q(state=Approval.State.REJECTED) | Q(is_taken_back=True), then=Value(Outcome.CORRECTED)),
    When(kind=Approval.Kind.SAMPLE, then=Value(Outcome.VERIFIED)),
    default=Value(Outcome.APPROVED),
)

RIGHTLY = Q(came_to__in=RIGHT)
"""Of what `judged` found: those in which the agent was right."""


def of_decisions() -> Case:
    """Of rows of decisions: what came of the act that each was about; None where it does not say."""
    about = judged(Approval.objects.filter(pk=OuterRef("approval")))
    return Case(When(answer__in=JUDGEMENTS, then=Subquery(about.values("came_to"))), default=None)
