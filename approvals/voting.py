"""How many people it takes: votes of different hands, one each, all for exactly the same act.

A round of votes is for one digest. Whoever edits begins the next round, since what others agreed to is not what would
happen; one rejection ends it all. Apart from the verb because pages and the API count votes as the verb does.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.db.models import Prefetch, prefetch_related_objects
from django.utils import timezone

from agents import errors
from agents.contracts import Json
from agents.models import User
from approvals.models import Approval, Decision

GIVEN = Prefetch("decisions", Decision.objects.select_related("by").order_by("at"), to_attr="given")
"""Looks the decisions of many approvals up at once."""

VOTES = frozenset({Decision.Answer.APPROVE, Decision.Answer.EDIT})
"""The answers that let an act through. Any other is what a person found or forbids, and counts alone."""

COUNTED = VOTES | {Decision.Answer.ABSENT}
"""The answers that take as many people as the act: to do again what was in doubt is to let it through, too."""


@dataclass(frozen=True, slots=True)
class Ballot:
    """The votes of the round that is on: for which digest, and the arguments where somebody has edited them."""

    round: int
    given: Sequence[Decision]
    needed: int
    arguments: Json | None
    bound: Json | None
    digest: str

    @property
    def missing(self) -> int:
        """How many more it takes."""
        return max(self.needed - len(self.given), 0)

    def of(self, hands: frozenset[object]) -> Decision | None:
        """The vote that these hands have given in this round."""
        return next((vote for vote in self.given if hands & vote.by.hands), None)


def ballot(approval: Approval, decisions: Sequence[Decision] | None = None) -> Ballot:
    """The round that is on. Asks for its decisions, in their order, only where it takes more than one vote."""
    votes = [vote for vote in _known(approval, decisions) if vote.answer in COUNTED]
    number = max((vote.round for vote in votes), default=1)
    given = [vote for vote in votes if vote.round == number]
    arguments = given[0].arguments if given else None
    digest = approval.digest if arguments is None else given[0].digest
    bound = given[0].bound if given else None
    return Ballot(number, given, approval.votes_needed, arguments, bound, digest)


def _known(approval: Approval, decisions: Sequence[Decision] | None) -> Sequence[Decision]:
    if approval.votes_needed == 1:
        return ()
    known: Sequence[Decision] | None = getattr(approval, "given", decisions)
    return list(approval.decisions.select_related("by").order_by("at")) if known is None else known


def look_up(approvals: Iterable[Approval]) -> None:
    """What was answered so far, in one query, where it can matter: where it takes more votes, and where it is over."""
    prefetch_related_objects([one for one in approvals if one.votes_needed > 1 or not one.is_open], GIVEN)


def is_last(decision: Decision) -> bool:
    """Whether an answer that is not stored yet settles its question."""
    current = ballot(decision.approval)
    counted = len(current.given) if current.round == decision.round else 0
    return decision.answer not in COUNTED or counted + 1 >= current.needed


def refusal(by: User, approval: Approval) -> str:
    """Why these hands have no vote left in this round; empty when they have."""
    vote = ballot(approval).of(by.hands) if approval.is_open else None
    if vote is None:
        return ""
    whose = "You" if vote.by_id == by.pk else f"{vote.by.name}, behind whom the same person stands,"
    return f"{whose} voted at {timezone.localtime(vote.at):%H:%M}; the next vote is somebody else's."


def require_seen(current: Ballot, answer: str, digest: str) -> None:
    """An act is let through by those who saw it as it is: `digest` says what somebody saw."""
    if digest and digest != current.digest:
        raise errors.Conflict("Somebody changed it since you looked; look again, then decide.", field="digest")
    if not digest and current.round > 1 and answer == Decision.Answer.APPROVE:
        raise errors.Invalid("It was edited: post the `digest` of what you approve, as it is shown.", field="digest")
