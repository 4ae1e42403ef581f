"""Deciding: one verb for pages, API and scripts. Whoever is late or not allowed changes nothing and is told why."""

from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from agents import errors
from agents.audit import log as audit
from agents.contracts import Answer, Json
from agents.models import AuditEntry, Run, User
from agents.runs import holds
from agents.tools import catalogue, invocation
from approvals import asking, duties, integrity, signals
from approvals.models import Approval, Decision

BECOMES = {
    Decision.Answer.APPROVE: (Approval.State.APPROVED, "approved"),
    Decision.Answer.EDIT: (Approval.State.EDITED, "edited"),
    Decision.Answer.REJECT: (Approval.State.REJECTED, "rejected"),
    Decision.Answer.OUTCOME: (Approval.State.APPROVED, "outcome"),
    Decision.Answer.ABSENT: (Approval.State.APPROVED, "absent"),
}
"""The state an approval gets, and the kind of answer that the engine gets."""


def decide(
    approval: Approval,
    *,
    answer: str,
    reason: str,
    by: User,
    request_id: UUID,
    arguments: Json | None = None,
    outcome: Any = None,
) -> Decision:
    """Answer an open question; the run goes on in the same transaction. The same request id is the same decision.

    `arguments` come with *edit*, `outcome` (any JSON) with *outcome*. Raises `Invalid`, `Forbidden` or `Conflict`; the
    last two are kept in the audit log, which is why no transaction around this may undo it.
    """
    try:
        with transaction.atomic(durable=True):
            return _decide(approval.pk, answer, reason.strip(), by, request_id, arguments, outcome)
    except (errors.Forbidden, errors.Conflict) as error:
        _keep_attempt(approval, answer, error, by=by, request_id=request_id)
        raise


def _keep_attempt(approval: Approval, answer: str, error: errors.DomainError, *, by: User, request_id: UUID) -> None:
    denied = isinstance(error, errors.Forbidden)
    audit.record(
        "approval.decided",
        about=approval,
        by=by,
        reason=error.message,
        request_id=request_id,
        outcome=AuditEntry.Outcome.DENIED if denied else AuditEntry.Outcome.FAILED,
        answer=answer[:40],
        **asking.links(approval),
    )


def _decide(
    pk: UUID, answer: str, reason: str, by: User, request_id: UUID, arguments: Json | None, outcome: Any
) -> Decision:
    approval = _lock(pk)
    duties.require(by, approval)
    if earlier := Decision.objects.select_related("by").filter(request_id=request_id).first():
        return _same(earlier, approval, by)
    _require_open(approval)
    chosen = _checked(approval, answer, reason, outcome)
    if chosen == Decision.Answer.EDIT:
        arguments = _edited(approval, arguments)
    elif arguments is not None:
        raise errors.Invalid("`arguments` come with the answer edit only.", field="arguments")
    decision = Decision(
        approval=approval, by=by, answer=chosen, reason=reason, arguments=arguments, request_id=request_id
    )
    decision.outcome = outcome if chosen == Decision.Answer.OUTCOME else None
    _store(approval, decision)
    holds.answer(approval.run_id, approval.seq, answer=_for_engine(approval, decision))
    signals.approval_decided.send(Approval, **asking.subject(approval), state=approval.state)
    return decision


def _lock(pk: UUID) -> Approval:
    """The approval as it is now, kept so to the commit. Run first, then approval: whoever locks both does it so."""
    Run.objects.select_for_update(of=("self",)).only("pk").get(approvals=pk)
    related = ("run__started_by", "agent__owner", "team", "release")
    approval: Approval = Approval.objects.select_for_update(of=("self",)).select_related(*related).get(pk=pk)
    return approval


def _same(earlier: Decision, approval: Approval, by: User) -> Decision:
    if (earlier.approval_id, earlier.by_id) != (approval.pk, by.pk):
        raise errors.Conflict("This request id was used for another decision; make a new one.", field="request_id")
    return earlier


def _require_open(approval: Approval) -> None:
    """Whoever comes late is told who decided, and when."""
    if approval.is_open:
        return
    if decision := approval.decisions.select_related("by").order_by("at").last():
        at = timezone.localtime(decision.at)
        raise errors.Conflict(f"{decision.past} by {decision.by.name}, {at:%H:%M}. Your answer changed nothing.")
    why = f": {approval.closed_because}" if approval.closed_because else "."
    raise errors.Conflict(f"Nobody needs to answer this any more{why}")


def _checked(approval: Approval, answer: str, reason: str, outcome: Any) -> Decision.Answer:
    """The answer, if it is one of this question's and says what it must."""
    if answer not in Decision.Answer.values:
        raise errors.Invalid(f"`answer` is one of {', '.join(approval.answers)}, not {answer!r}.", field="answer")
    chosen = Decision.Answer(answer)
    if chosen not in approval.answers:
        raise errors.Conflict(_not_offered(approval, chosen), field="answer")
    if chosen == Decision.Answer.REJECT and not reason:
        raise errors.Invalid("Say why you reject it: the agent and the next person will want to know.", field="reason")
    if chosen == Decision.Answer.OUTCOME and outcome in (None, "", {}):
        raise errors.Invalid("Post what came of it: a sentence, or a JSON object.", field="outcome")
    return chosen


def _not_offered(approval: Approval, chosen: Decision.Answer) -> str:
    offered = ", ".join(approval.answers)
    if approval.kind == Approval.Kind.IN_DOUBT:
        return f"Nobody knows whether {approval.tool} happened: say what happened ({offered}) instead of {chosen}."
    if approval.is_manual:
        return f"{approval.tool} is manual (tier 4): a person does it; post its outcome, or reject it."
    return f"This asks whether it may be done; the answers are {offered}, not {chosen}."


def _edited(approval: Approval, arguments: Json | None) -> Json:
    """The arguments a person wants instead, checked as the agent's own are."""
    if not isinstance(arguments, dict):
        raise errors.Invalid("`arguments` must be a JSON object with the arguments to use instead.", field="arguments")
    if not can_check_arguments(approval.tool):
        return arguments  # of a recorded act: nothing is called with them, the replay ends there as diverged
    checked: Json = invocation.validate(catalogue.get(approval.tool), arguments)
    return checked


def can_check_arguments(tool: str) -> bool:
    """Whether arguments of a tool can be edited: those of a recorded tool cannot, nobody here knows its schema."""
    try:
        catalogue.get(tool)
    except errors.Missing:
        return False
    return True


def _store(approval: Approval, decision: Decision) -> None:
    """Write answer and question together, and who did it."""
    decision.at = timezone.now()
    decision.seconds = (decision.at - approval.requested_at).total_seconds()
    decision.digest = _lets_through(approval, decision)
    decision.save(force_insert=True)
    approval.state, approval.decided_at = BECOMES[Decision.Answer(decision.answer)][0], decision.at
    if decision.answer == Decision.Answer.OUTCOME:
        approval.executed = Approval.Executed.EXECUTED
    approval.save(update_fields=["state", "decided_at", "executed"])
    audit.record(
        "approval.decided",
        about=approval,
        by=decision.by,
        reason=decision.reason,
        request_id=decision.request_id,
        answer=decision.answer,
        seconds=round(decision.seconds, 1),
        **asking.links(approval) | {"digest": decision.digest},
    )


def _lets_through(approval: Approval, decision: Decision) -> str:
    """The digest of the act that may now happen; none where nothing may."""
    if decision.answer in (Decision.Answer.APPROVE, Decision.Answer.ABSENT):
        return approval.digest
    if decision.arguments is not None:
        return integrity.digest(approval.bound, decision.arguments)
    return ""


def _for_engine(approval: Approval, decision: Decision) -> Answer:
    """What the engine is told. Doing a doubted act now means the very act that was doubted, edits included."""
    again = approval.arguments if decision.answer == Decision.Answer.ABSENT else None
    return Answer(
        kind=BECOMES[Decision.Answer(decision.answer)][1],
        by_id=decision.by_id,
        by_name=decision.by.name,
        reason=decision.reason,
        arguments=again if decision.arguments is None else decision.arguments,
        outcome=decision.outcome,
        approval_id=approval.pk,
    )
