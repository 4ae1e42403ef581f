"""Deciding: one verb for pages, API and scripts, for one question or many: the same checks, written once. Whoever is
late or not allowed changes nothing and is told why."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from agents import errors
from agents.audit import log as audit
from agents.contracts import Json
from agents.models import AuditEntry, User
from agents.runs import holds
from approvals import asking, claiming, duties, editing, integrity, limits, replying, settling, voting
from approvals.bulk import fitness
from approvals.models import Approval, Decision
from approvals.run_grants import bounds, grants


@dataclass(frozen=True, slots=True)
class Given:
    """What somebody answers, to one question or to many at once."""

    by: User
    answer: str
    reason: str = ""
    code: str = ""
    arguments: Json | None = None
    outcome: Any = None
    digest: str = ""
    for_run: bool = False
    bound: Json | None = None
    records: list[Json] | None = None
    together: bool = False


def decide(
    approval: Approval,
    *,
    answer: str,
    reason: str,
    by: User,
    request_id: UUID,
    code: str = "",
    arguments: Json | None = None,
    outcome: Any = None,
    digest: str = "",
    for_run: bool = False,
) -> Decision:
    """Answer an open question; with the last vote it takes, the run goes on in the same transaction. The same request
    id is the same decision.

    `code` (a `Decision.Code`) comes with *reject*, `arguments` with *edit*, `outcome` (any JSON) with *outcome*;
    `digest` is of the act that was seen; `for_run` lets the same through for the rest of the run. Raises `Invalid`,
    `Forbidden` or `Conflict`; the last two are kept in the audit log, which is why no transaction around this may undo
    it.
    """
    given = Given(by, answer, reason.strip(), code, arguments, outcome, digest, for_run)
    limits.require_short(given.reason)
    limits.require_small(outcome)
    try:
        given = _prepared(approval, given, request_id)
        with transaction.atomic(durable=True):
            (made,) = _decide({approval.pk: request_id}, given, {approval.run_id})
            if isinstance(made, errors.DomainError):
                raise made
            if given.records is not None:
                grants.give(approval, made, given.records)
            return made
    except (errors.Forbidden, errors.Conflict) as error:
        audit.append([_attempt(approval, given, error, request_id)])
        raise


def _prepared(approval: Approval, given: Given, request_id: UUID) -> Given:
    """What tools and gates are asked about is checked before anything is locked: an edit, and what the same would be
    for the rest of the run. Not for whoever may not decide anyway, nor about what is closed or was taken before: they
    are told that, further on."""
    if given.for_run and given.answer not in voting.VOTES:
        raise errors.Invalid("`for_run` comes with the answers approve and edit only.", field="for_run")
    is_vote = given.answer in voting.VOTES and given.answer in approval.answers
    is_plain = given.answer == Decision.Answer.APPROVE and not given.for_run
    if is_plain or not is_vote or not approval.is_open or duties.refusal(given.by, approval):
        return given
    if Decision.objects.filter(request_id=request_id).exists():
        return given
    if given.answer == Decision.Answer.EDIT:
        arguments, bound = editing.checked(approval, given.arguments)
        given = replace(given, arguments=arguments, bound=bound)
    if not given.for_run:
        return given
    wanted = approval.arguments if given.arguments is None else given.arguments
    return replace(given, records=bounds.of(approval, wanted))


@transaction.atomic
def decide_many(asked: Mapping[UUID, UUID], given: Given) -> Sequence[Decision | errors.DomainError]:
    """Answer many open questions in one transaction: to each approval (its key) the decision of the request id beside
    it, or why it was left as it is. Each is checked as if it were the only one; each run goes on once.

    Nobody edits many: an edit is made of one act, beside what its agent had asked for.
    """
    if given.answer == Decision.Answer.EDIT:
        raise errors.Invalid("Arguments are edited in one question at a time.", field="answer")
    given = replace(given, together=True)
    runs = Approval.objects.filter(pk__in=asked).values_list("run_id", flat=True)
    made = _decide(asked, given, set(runs))
    left = [(pk, one) for pk, one in zip(asked, made, strict=True) if isinstance(one, errors.DomainError)]
    approvals = Approval.objects.in_bulk([pk for pk, _ in left])
    audit.append([_attempt(approvals[pk], given, why, asked[pk]) for pk, why in left if pk in approvals])
    return made


def _attempt(approval: Approval, given: Given, error: errors.DomainError, request_id: UUID) -> AuditEntry:
    denied = isinstance(error, errors.Forbidden)
    return audit.entry(
        "approval.decided",
        about=approval,
        by=given.by,
        reason=error.message,
        request_id=request_id,
        outcome=AuditEntry.Outcome.DENIED if denied else AuditEntry.Outcome.FAILED,
        answer=given.answer[:40],
        **asking.links(approval),
    )


def _decide(asked: Mapping[UUID, UUID], given: Given, runs: set[UUID]) -> list[Decision | errors.DomainError]:
    """Lock, judge each by itself, then write all that passed, at one moment. In the order of `asked`."""
    holds.lock(runs)  # before their approvals: whoever locks both does it so
    approvals, at = _lock(asked), timezone.now()
    earlier = {known.request_id: known for known in Decision.objects.filter(request_id__in=asked.values())}
    made: dict[UUID, Decision | errors.DomainError] = {}
    fresh = []
    for approval in approvals:
        request_id = asked[approval.pk]
        try:
            if request_id in earlier:
                made[approval.pk] = _same(earlier[request_id], approval, given)
                continue
            duties.require(given.by, approval)
            fresh.append(_judged(approval, given, request_id, at))
        except errors.DomainError as error:
            made[approval.pk] = error
    made |= settling.store(fresh)
    return [made.get(pk) or errors.Missing() for pk in asked]


def _lock(asked: Collection[UUID]) -> list[Approval]:
    """The approvals as they are now, kept so to the commit."""
    locked = duties.with_hands(Approval.objects.filter(pk__in=asked)).select_for_update(of=("self",))
    found = list(locked.order_by("pk") if len(asked) > 1 else locked)  # an order is looked for among all columns
    duties.look_up_lines([approval.run for approval in found])
    voting.look_up(found)
    return found


def _judged(approval: Approval, given: Given, request_id: UUID, at: datetime) -> Decision:
    """The decision that this answer makes, not stored yet; raises what speaks against it."""
    _require_open(approval)
    if given.together:
        fitness.require(approval)
    duties.require_proof(given.by, approval)
    claiming.require_free(given.by, approval)
    chosen, ballot = _checked(approval, given), voting.ballot(approval)
    voting.require_seen(ballot, chosen, given.digest)
    decision = Decision(
        approval=approval,
        by=given.by,
        answer=chosen,
        code=given.code,
        reason=given.reason,
        arguments=ballot.arguments if chosen == Decision.Answer.APPROVE else given.arguments,
        outcome=_outcome(approval, given) if chosen == Decision.Answer.OUTCOME else None,
        solo=duties.lifted(given.by, approval),
        request_id=request_id,
    )
    if chosen in voting.VOTES:
        decision.bound = ballot.bound if chosen == Decision.Answer.APPROVE else given.bound
    decision.at, decision.seconds = at, (at - approval.requested_at).total_seconds()
    decision.digest = _lets_through(approval, decision)
    decision.round = ballot.round + (chosen == Decision.Answer.EDIT and decision.digest != ballot.digest)
    return decision


def _outcome(approval: Approval, given: Given) -> Any:
    return replying.reply(given.outcome) if approval.kind == Approval.Kind.QUESTION else given.outcome


def _same(earlier: Decision, approval: Approval, given: Given) -> Decision:
    """The decision that this request made before; refused where it is another one that comes under its id."""
    if (earlier.approval_id, earlier.by_id) != (approval.pk, given.by.pk):
        duties.require(given.by, approval)
        raise errors.Conflict("This request id was used for another decision; make a new one.", field="request_id")
    if (earlier.answer, earlier.code) != (given.answer, given.code) or not _is_same_edit(earlier, approval, given):
        raise errors.Conflict(
            f"This request id was used before, with another answer, which counts: {earlier.past.lower()}. For this one "
            "make a new request id.",
            field="request_id",
        )
    return earlier


def _is_same_edit(earlier: Decision, approval: Approval, given: Given) -> bool:
    """Whether it carries the same arguments; of what is closed meanwhile they come as they were sent."""
    if earlier.answer != Decision.Answer.EDIT:
        return True
    return given.arguments is not None and earlier.arguments in (
        given.arguments,
        editing.read(approval, given.arguments),
    )


def _require_open(approval: Approval) -> None:
    """Whoever comes late is told who decided, and when."""
    if approval.is_open and approval.has_expired:
        until = timezone.localtime(approval.expires_at)
        raise errors.Conflict(f"This could be answered until {until:%Y-%m-%d %H:%M}. Your answer changed nothing.")
    if approval.is_open:
        return
    decision = approval.given[-1] if approval.decided_at else None
    if decision and (approval.state in Approval.DECIDED or decision.answer == Decision.Answer.ASK):
        at = timezone.localtime(decision.at)
        raise errors.Conflict(f"{decision.past} by {decision.by.name}, {at:%H:%M}. Your answer changed nothing.")
    why = f": {approval.closed_because}" if approval.closed_because else "."
    raise errors.Conflict(f"Nobody needs to answer this any more{why}")


def _checked(approval: Approval, given: Given) -> Decision.Answer:
    """The answer, if it is one of this question's and says what it must."""
    if given.answer not in Decision.Answer.values:
        raise errors.Invalid(f"`answer` is one of {', '.join(approval.answers)}, not {given.answer!r}.", field="answer")
    chosen = Decision.Answer(given.answer)
    if chosen not in approval.answers:
        raise errors.Conflict(_not_offered(approval, chosen), field="answer")
    if chosen == Decision.Answer.REJECT:
        _require_why(approval, given)
    elif given.code:
        raise errors.Invalid("`code` comes with the answer reject only.", field="code")
    if chosen == Decision.Answer.ASK and not given.reason:
        raise errors.Invalid("Write the question: the agent answers it and proposes again.", field="reason")
    if chosen == Decision.Answer.OUTCOME and given.outcome in (None, "", {}):
        raise errors.Invalid("Post what came of it: a sentence, or a JSON object.", field="outcome")
    if chosen != Decision.Answer.EDIT and given.arguments is not None:
        raise errors.Invalid("`arguments` come with the answer edit only.", field="arguments")
    return chosen


def _require_why(approval: Approval, given: Given) -> None:
    """A rejection says why: in a code, in words, or in both."""
    if given.code and approval.kind in (Approval.Kind.IN_DOUBT, Approval.Kind.QUESTION):
        raise errors.Invalid("`code` says why an act was rejected; this asks about none.", field="code")
    if given.code and given.code not in Decision.Code.values:
        known = ", ".join(Decision.Code.values)
        raise errors.Invalid(f"`code` is one of {known}, not {given.code!r}.", field="code")
    if not given.reason and given.code in ("", Decision.Code.OTHER):
        raise errors.Invalid("Say why you reject it: the agent and the next person will want to know.", field="reason")


def _not_offered(approval: Approval, chosen: Decision.Answer) -> str:
    offered = ", ".join(approval.answers)
    if approval.kind == Approval.Kind.IN_DOUBT:
        return f"Nobody knows whether {approval.tool} happened: say what happened ({offered}) instead of {chosen}."
    if approval.kind == Approval.Kind.SAMPLE:
        return f"{approval.tool} has happened: say whether it was right ({offered}); {chosen} changes nothing any more."
    if approval.kind == Approval.Kind.QUESTION:
        return f"The agent asks something, and nothing is done: answer it ({offered}) instead of {chosen}."
    if approval.is_manual:
        return f"{approval.tool} is manual (tier 4): a person does it; post its outcome, or reject it."
    return f"This asks whether it may be done; the answers are {offered}, not {chosen}."


def _lets_through(approval: Approval, decision: Decision) -> str:
    """The digest of the act that may now happen; none where nothing may."""
    if decision.arguments is not None:
        return integrity.digest(decision.bound or approval.bound, decision.arguments)
    if decision.answer in (Decision.Answer.APPROVE, Decision.Answer.ABSENT):
        return approval.digest
    return ""
