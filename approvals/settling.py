"""What an answer does: a vote is kept, or the engine is told and the question closed. Whether it may be given was
decided before (`decisions`), under the locks that this is called in."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db.models import Case, F, Value, When

from agents import errors
from agents.audit import log as audit
from agents.contracts import Answer
from agents.models import AuditEntry
from agents.runs import holds
from approvals import asking, signals, terms, voting
from approvals.escalation.ladder import LASTS
from approvals.models import Approval, Decision

BECOMES = {
    Decision.Answer.APPROVE: (Approval.State.APPROVED, "approved"),
    Decision.Answer.EDIT: (Approval.State.EDITED, "edited"),
    Decision.Answer.REJECT: (Approval.State.REJECTED, "rejected"),
    Decision.Answer.ASK: (Approval.State.SUPERSEDED, "asked"),
    Decision.Answer.OUTCOME: (Approval.State.APPROVED, "outcome"),
    Decision.Answer.ABSENT: (Approval.State.APPROVED, "absent"),
}
"""The state an approval gets, and the kind of answer that the engine gets."""


def store(decisions: Sequence[Decision]) -> dict[UUID, Decision | errors.DomainError]:
    """Write answers and questions together, and who did it."""
    last = [voting.is_last(one) for one in decisions]
    votes = [one for one, is_last in zip(decisions, last, strict=True) if not is_last]
    return _keep_votes(votes) | _settle([one for one, is_last in zip(decisions, last, strict=True) if is_last])


def _keep_votes(votes: Sequence[Decision]) -> dict[UUID, Decision | errors.DomainError]:
    """It takes more people: the questions stay open, for whoever takes them next."""
    if not votes:
        return {}
    Decision.objects.bulk_create(votes)
    asked = [one.approval_id for one in votes]
    Approval.objects.filter(pk__in=asked).update(claimed_by=None, claimed_until=None)
    audit.append([_entry("approval.voted", one) for one in votes])
    for one in votes:
        signals.approval_voted.send(Approval, **asking.subject(one.approval), by=one.by)
    return {one.approval_id: one for one in votes}


def _settle(decisions: Sequence[Decision]) -> dict[UUID, Decision | errors.DomainError]:
    """Tell the engine, and close the questions. What the engine no longer asks is left."""
    if not decisions:
        return {}
    places = {(one.approval.run_id, one.approval.seq): one for one in decisions}
    waiting = {place: one for place, one in places.items() if one.approval.is_waited_for}
    taken = holds.answer_many({place: _for_engine(one.approval, one) for place, one in waiting.items()})
    taken |= places.keys() - waiting.keys()
    fresh = [one for place, one in places.items() if place in taken]
    Decision.objects.bulk_create(fresh)
    _close(fresh)
    audit.append([_entry("approval.decided", one) for one in fresh])
    if fresh:
        signals.approvals_closed.send(Approval, approvals=[one.approval for one in fresh])
    late = errors.Conflict("This step is no longer waiting for an answer.")
    return {one.approval_id: one if place in taken else late for place, one in places.items()}


def _close(decisions: Sequence[Decision]) -> None:
    """The questions are no longer open. They got one answer at one moment."""
    if not decisions:
        return
    chosen = _in_effect(decisions[0])
    fields: dict[str, Any] = {"state": BECOMES[chosen][0], "decided_at": decisions[0].at}
    if chosen == Decision.Answer.OUTCOME:
        fields["executed"] = Approval.Executed.EXECUTED
    if chosen == Decision.Answer.ASK:
        fields["closed_because"] = f"Asked back: {decisions[0].reason}"
    ends: dict[str, Any] = {}
    has_lasting = any(LASTS in (one.approval.ladder or ()) for one in decisions)
    if has_lasting and fields["state"] in Approval.ALLOWING:  # what no gate has given an end counts from the answer on
        until = When(ladder__has_key=LASTS, then=Value(decisions[0].at + terms.usually()))
        ends["expires_at"] = Case(until, default=F("expires_at"))
    Approval.objects.filter(pk__in=[one.approval_id for one in decisions]).update(**fields, **ends)
    for decision in decisions:
        for name, value in fields.items():
            setattr(decision.approval, name, value)


def _entry(verb: str, decision: Decision) -> AuditEntry:
    approval = decision.approval
    return audit.entry(
        verb,
        about=approval,
        by=decision.by,
        reason=decision.reason,
        request_id=decision.request_id,
        answer=decision.answer,
        **{name: value for name in ("code", "solo") if (value := getattr(decision, name))},
        seconds=round(decision.seconds, 1),
        **asking.links(approval) | {"digest": decision.digest},
    )


def _in_effect(decision: Decision) -> Decision.Answer:
    """What an answer comes to: to approve what somebody has edited is to let the edited act through."""
    is_edited = decision.answer == Decision.Answer.APPROVE and decision.arguments is not None
    return Decision.Answer.EDIT if is_edited else Decision.Answer(decision.answer)


def _for_engine(approval: Approval, decision: Decision) -> Answer:
    """What the engine is told. Doing a doubted act now means the very act that was doubted, edits included; so does
    doing one that was asked again."""
    is_again = decision.answer == Decision.Answer.ABSENT or approval.moved is not None
    again = approval.arguments if is_again else None
    return Answer(
        kind=BECOMES[_in_effect(decision)][1],
        by_id=decision.by_id,
        by_name=decision.by.name,
        reason=_told(decision),
        arguments=again if decision.arguments is None else decision.arguments,
        outcome=decision.outcome,
        approval_id=approval.pk,
    )


def _told(decision: Decision) -> str:
    """The reason as the agent reads it, its code first: a program may look for that word."""
    code = decision.code if decision.code != Decision.Code.OTHER else ""
    return ": ".join(filter(None, (code, decision.reason)))
