"""Noting what happened, in the transaction that made it true: one row, whoever it may concern."""

from collections.abc import Iterable, Sequence
from uuid import UUID

from agents.models import Team, User
from approvals.models import Approval
from approvals.notify.models import About, Fact

CLOSED = {
    **dict.fromkeys(Approval.DECIDED, About.DECIDED),
    Approval.State.EXPIRED: About.EXPIRED,
    Approval.State.SUPERSEDED: About.SUPERSEDED,
}
"""What is told of a question that is no longer open."""


def note(approval_id: UUID, about: About) -> None:
    """Something happened to an approval. Written in the caller's transaction, it is undone with it."""
    Fact.objects.create(approval_id=approval_id, about=about)


def note_closed(approvals: Iterable[Approval]) -> None:
    """Nobody needs to answer these any more: the state of each says why."""
    Fact.objects.bulk_create(Fact(approval=one, about=CLOSED[one.state]) for one in approvals)


def note_escalated(approval: Approval, *, level: int, targets: Sequence[User | Team], channels: Sequence[str]) -> None:
    """It goes to a level: to these people and teams, through these channels (all when none is named)."""
    Fact.objects.create(
        approval=approval,
        about=About.ESCALATED,
        level=level,
        people=[str(one.pk) for one in targets if isinstance(one, User)],
        teams=[str(one.pk) for one in targets if isinstance(one, Team)],
        channels=list(channels),
    )


def note_delegated(approval: Approval, *, to: User) -> None:
    """Somebody handed it to this person."""
    Fact.objects.create(approval=approval, about=About.DELEGATED, people=[str(to.pk)])
