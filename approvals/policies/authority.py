"""Who may change the rules that hold for everybody, and that a change asked for twice is one change.

What decides over every act takes the role everywhere and, through a door, a person with a second factor. Whoever sits
at the command line has the installation in hand anyway; they came through no door.
"""

from typing import Any
from uuid import UUID

from agents import errors
from agents.audit import log as audit
from agents.audit.log import Subject
from agents.models import AuditEntry, Permission, User
from agents.people import factors, proving
from agents.people.assurance import Door
from approvals.policies.models import PolicySet

ALL = Subject("policyset", "", "the policies")
ROLE = "Policies hold for every team; to change them takes the role governance in every team."
BROWSER = "What decides over every act is changed by a person in the browser, with a second factor; tokens try it."
NO_FACTOR = "This takes a second factor, and you have none yet."


def refusal(by: User) -> str:
    """Why this person may not publish policies or try them; empty when they may."""
    return "" if by.is_active and by.places(Permission.PUBLISH)[0] and not by.speaks_for_agent else ROLE


def refusal_to_decide(by: User) -> str:
    """Why this person may not change what holds, a fresh second factor aside; empty when they may."""
    if why := refusal(by):
        return why
    if by.assurance.door == Door.TOKEN:
        return BROWSER
    return NO_FACTOR if by.assurance.door == Door.BROWSER and not factors.kinds(by) else ""


def require(by: User | None, verb: str, about: PolicySet | Subject, request_id: UUID | None) -> None:
    """Raise what `refusal` says; the attempt is kept."""
    if by is not None and (why := refusal(by)):
        raise _denied(why, by, verb, about, request_id)


def require_to_decide(by: User | None, verb: str, about: PolicySet | Subject, request_id: UUID | None) -> None:
    """Raise what `refusal_to_decide` says, or that the second factor was not shown just now; the attempt is kept."""
    if by is None:
        return
    if why := refusal_to_decide(by):
        raise _denied(why, by, verb, about, request_id)
    if by.assurance.door != Door.NONE:
        try:
            proving.require_fresh(by, "Changing what holds for everybody")
        except errors.Forbidden as error:
            raise _denied(error.message, by, verb, about, request_id) from None


def _denied(why: str, by: User, verb: str, about: PolicySet | Subject, request_id: UUID | None) -> errors.Forbidden:
    denied = AuditEntry.Outcome.DENIED
    audit.record(verb, about=about, by=by, reason=why, outcome=denied, request_id=request_id)
    return errors.Forbidden(why)


def was_done(request_id: UUID | None, verb: str, *, by: User | None, **detail: Any) -> bool:
    """Whether this very request was carried out before. The same id for something else is a conflict."""
    if request_id is None:
        return False
    kept = AuditEntry.objects.filter(subject_kind=ALL.kind, request_id=request_id, outcome=AuditEntry.Outcome.DONE)
    earlier = kept.first()
    if earlier is None:
        return False
    same = {name: earlier.detail.get(name) for name in detail}
    if (earlier.verb, earlier.by_id, same) != (verb, by.pk if by else None, detail):
        raise errors.Conflict("This request id was used for something else; make a new one.", field="request_id")
    return True
