"""Noting what happened, in the transaction that made it true: one row, whoever it may concern."""

from collections.abc import Sequence
from uuid import UUID

from agents.models import Team, User
from approvals.models import Approval
from approvals.notify.models import About, Fact


def note(approval_id: UUID, about: About) -> None:
    """Something happened to an approval. Written in the caller's transaction, it is undone with it."""
    Fact.objects.create(approval_id=approval_id, about=about)


def note_closed(approval_id: UUID) -> None:
    """Nobody needs to answer any more, or somebody has voted and others still must: the row says which."""
    state = Approval.objects.filter(pk=approval_id).values_list("state", flat=True).first()
    if state in Approval.DECIDED:
        note(approval_id, About.DECIDED)
    elif state == Approval.State.EXPIRED:
        note(approval_id, About.EXPIRED)
    elif state == Approval.State.SUPERSEDED:
        note(approval_id, About.SUPERSEDED)


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
