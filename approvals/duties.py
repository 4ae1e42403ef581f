"""Who may decide what: the role, and the separation of duties, the same for pages, API, tokens and administrators.

Nobody decides a request of an agent they own or of a run they started, however deep it was delegated, nor through a
token of theirs; and nobody votes twice. Apart from the verb because a page says the reason beside the button before
anybody presses it.
"""

from collections.abc import Iterator

from agents import errors
from agents.models import Permission, Run, User
from approvals import voting
from approvals.models import Approval


def refusal(by: User, approval: Approval) -> str:
    """Why this person may not decide, in a sentence; empty when they may. Needs run, starter, agent, owner and team."""
    if by.speaks_for_agent:
        return "An agent acts through this account; what agents may do, people decide."
    if not by.may(Permission.DECIDE, approval.team_id):
        return f"Deciding takes the role reviewer in {approval.team}."
    return _separation(by, approval) or voting.refusal(by, approval)


def require(by: User, approval: Approval) -> None:
    """Raise what `refusal` says."""
    if sentence := refusal(by, approval):
        raise errors.Forbidden(sentence)


def _separation(by: User, approval: Approval) -> str:
    """Why these hands are not another pair of hands; empty when they are."""
    for run in _line(approval.run):
        if (starter := run.started_by) and by.hands & starter.hands:
            what = "this run" if run.pk == approval.run_id else "the run that delegated this"
            return _same_hands(by, starter, f"started {what}")
    owner = approval.agent.owner
    if owner and by.hands & owner.hands:
        return _same_hands(by, owner, f"own{'s' * (by.pk != owner.pk)} {approval.agent.name}")
    return ""


def _line(run: Run) -> Iterator[Run]:
    """A run and those it was delegated from, up to the one that somebody started."""
    yield run
    while run.parent_id:
        run = Run.objects.select_related("started_by").only("parent", "started_by").get(pk=run.parent_id)
        yield run


def _same_hands(by: User, other: User, did: str) -> str:
    if by.pk == other.pk:
        return f"You {did}; somebody else decides what it may do."
    return f"{other.name} {did}, and the same person stands behind both of you; somebody else decides."
