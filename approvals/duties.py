"""Who may decide what: the role, and the separation of duties, the same for pages, API, tokens and administrators.

Nobody decides a request of an agent they own or of a run they started, nor through a token of theirs. Apart from the
verb because a page says the reason beside the button before anybody presses it.
"""

from agents import errors
from agents.models import Permission, User
from approvals.models import Approval


def refusal(by: User, approval: Approval) -> str:
    """Why this person may not decide, in a sentence; empty when they may. Needs run, starter, agent, owner and team."""
    if not by.may(Permission.DECIDE, approval.team_id):
        return f"Deciding takes the role reviewer in {approval.team}."
    starter, owner = approval.run.started_by, approval.agent.owner
    if starter and by.hands & starter.hands:
        return _same_hands(by, starter, "started this run")
    if owner and by.hands & owner.hands:
        return _same_hands(by, owner, f"own{'s' * (by.pk != owner.pk)} {approval.agent.name}")
    return ""


def require(by: User, approval: Approval) -> None:
    """Raise what `refusal` says."""
    if sentence := refusal(by, approval):
        raise errors.Forbidden(sentence)


def _same_hands(by: User, other: User, did: str) -> str:
    if by.pk == other.pk:
        return f"You {did}; somebody else decides what it may do."
    return f"{other.name} {did}, and the same person stands behind both of you; somebody else decides."
