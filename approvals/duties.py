"""Who may decide what, the same for pages, API, tokens, bulk jobs and administrators: the role, the separation of
duties, and from L2 on a person with a second factor.

Nobody decides a request of an agent they own or of a run they started, however deep it was delegated, nor through a
token of theirs; and nobody votes twice. Apart from the verb because a page says the reason beside the button before
anybody presses it.
"""

from collections.abc import Iterable, Iterator

from django.db.models import QuerySet

from agents import errors
from agents.models import Permission, Run, User
from agents.people import factors, proving
from agents.people.assurance import Door
from approvals import solo, voting
from approvals.models import Approval

HIGHEST_OF_TOKENS = 1
WHO = "run__started_by", "agent__owner", "plant__by", "claimed_by"
"""Whose hands count, and whose claim."""


def refusal(by: User, approval: Approval) -> str:
    """Why this person may not decide, in a sentence; empty when they may, with a second factor shown where `proof`
    wants one. Needs run, starter, agent, owner and team."""
    return _bars(by, approval) or _level(by, approval) or voting.refusal(by, approval)


def refusal_of_role(by: User, approval: Approval) -> str:
    """Why this person decides nothing in the team of this request; empty where they do. Needs the team."""
    if by.speaks_for_agent:
        return "An agent acts through this account; what agents may do, people decide."
    return (
        "" if by.may(Permission.DECIDE, approval.team_id) else f"Deciding takes the role reviewer in {approval.team}."
    )


def refusal_of_absent(other: User, approval: Approval) -> str:
    """The same about somebody who is not here: the door is left out, since they will come through one of their own;
    what they must have with them is not."""
    return _bars(other, approval) or _equipment(other, approval) or voting.refusal(other, approval)


def require(by: User, approval: Approval) -> None:
    """Raise what `refusal` says."""
    if sentence := refusal(by, approval):
        raise errors.Forbidden(sentence)


def lifted(by: User, approval: Approval) -> str:
    """What the separation of duties would have said, had solo mode not lifted it; empty where it says nothing."""
    together = _separation(by, approval)
    return together if together and solo.is_on(by) else ""


def proof(by: User, approval: Approval) -> proving.Proof:
    """What has to be shown together with the answer; nothing for L1, and nothing while the last time is fresh."""
    return proving.NOTHING if approval.level <= HIGHEST_OF_TOKENS else proving.wanted(by)


def require_proof(by: User, approval: Approval) -> None:
    """Refuse who has not shown what `proof` wants."""
    if approval.level > HIGHEST_OF_TOKENS:
        proving.require_fresh(by, f"Deciding L{approval.level}")


def lacks_factor(by: User, approval: Approval) -> bool:
    """Whether a second factor is all that is missing."""
    is_asked = approval.level > HIGHEST_OF_TOKENS and by.assurance.door == Door.BROWSER
    return is_asked and not factors.kinds(by)


def _bars(by: User, approval: Approval) -> str:
    """Why these are the wrong hands, whichever door they come through; empty where they are not."""
    if without := refusal_of_role(by, approval):
        return without
    together = _separation(by, approval)
    return together if together and not solo.is_on(by) else ""


def _equipment(by: User, approval: Approval) -> str:
    """Whether somebody has what this level takes."""
    if approval.level <= HIGHEST_OF_TOKENS or factors.kinds(by):
        return ""
    return f"This is L{approval.level}: it takes a second factor, and you have none yet."


def _level(by: User, approval: Approval) -> str:
    """Why we cannot be sure enough that it is them; empty where we can."""
    if approval.level <= HIGHEST_OF_TOKENS:
        return ""
    if by.assurance.door != Door.BROWSER:
        return f"This is L{approval.level}: a person decides it in the browser, with a second factor. Tokens decide L1."
    return _equipment(by, approval)


def _separation(by: User, approval: Approval) -> str:
    """Why these hands are not another pair of hands; empty when they are."""
    for run in line(approval.run):
        if (starter := run.started_by) and by.hands & starter.hands:
            what = "this run" if run.pk == approval.run_id else "the run that delegated this"
            return _same_hands(by, starter, f"started {what}")
    plant = getattr(approval, "plant", None)
    if plant and by.hands & plant.by.hands:  # planting began its run; nobody else learns more from this
        return _same_hands(by, plant.by, "started this run")
    owner = approval.agent.owner
    if owner and by.hands & owner.hands:
        return _same_hands(by, owner, f"own{'s' * (by.pk != owner.pk)} {approval.agent.name}")
    return ""


def with_hands(approvals: QuerySet[Approval]) -> QuerySet[Approval]:
    """With those who began, own, planted or claimed what is asked, and of run and agent only what the duties read: the
    whole of them is 160 columns, most of a decision's time."""
    own = (field.name for field in Approval._meta.concrete_fields)
    people = (f"{who}__{field}" for who in WHO for field in ("name", "owner"))
    read = (*own, "run__parent", "agent__name", "plant__revealed_at", *people)
    return approvals.select_related(*WHO).only(*read)


def line(run: Run) -> Iterator[Run]:
    """A run and those it was delegated from, up to the one that somebody started."""
    here: Run | None = run
    while here is not None:
        yield here
        if here.parent_id and not Run.parent.is_cached(here):
            look_up_lines([here])
        here = here.parent


def look_up_lines(runs: Iterable[Run]) -> None:
    """Those that these runs were delegated from, in one query for each step up, however many runs there are."""
    below = [run for run in runs if run.parent_id]
    while below:
        parents = Run.objects.select_related("started_by").only("parent", "started_by")
        above = parents.in_bulk({run.parent_id for run in below})
        for run in below:
            run.parent = above[run.parent_id]
        below = [run for run in above.values() if run.parent_id]


def _same_hands(by: User, other: User, did: str) -> str:
    if by.pk == other.pk:
        return f"You {did}; somebody else decides what it may do."
    return f"{other.name} {did}, and the same person stands behind both of you; somebody else decides."
