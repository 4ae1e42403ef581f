"""The job that gives one answer to many requests: asked for once, driven in chunks by whoever holds its lease.

Each chunk is one transaction: its decisions, what was left and why, and how far the job has come. Killed in between, it
goes on where the last chunk ended; the decision on each request has a request id of its own, made of the job's.
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from agents import errors
from agents.audit import log as audit
from agents.audit.log import Subject
from agents.models import Permission, User
from agents.runs import courier
from approvals import decisions, limits, signals, tasks
from approvals.bulk import choosing
from approvals.bulk.choosing import Choice
from approvals.bulk.models import BulkDecision, BulkItem, BulkQuerySet
from approvals.decisions import Given
from approvals.models import Approval, Decision

MOST = 10_000
CHUNK = 200
LEASE = timedelta(seconds=15)
MOST_DEATHS = 4
ANSWERS = (Decision.Answer.APPROVE, Decision.Answer.REJECT)


def start(choice: Choice, *, answer: str, reason: str, by: User, request_id: UUID, code: str = "") -> BulkDecision:
    """Ask for one answer to all that was chosen, counted now. What fits one chunk is done at once, the rest by a worker
    of the queue `bulk`. The same request id is the same job. Raises `Invalid`, `Forbidden` or `Conflict`."""
    _require_role(by, request_id)
    choosing.require_something(choice)
    chosen, reason = _checked(answer, code, reason.strip()), reason.strip()
    job = BulkDecision(by=by, answer=chosen, code=code, reason=reason, chosen=choice.words, request_id=request_id)
    with transaction.atomic():
        if earlier := BulkDecision.objects.filter(request_id=request_id).first():
            return _same(earlier, job, choice)
        _fill(job, choice)
        detail: dict[str, Any] = {"answer": chosen, "chosen": job.chosen, "total": job.total}
        audit.record("approval.bulk_asked", about=job, by=by, reason=reason, request_id=request_id, **detail)
        if job.total > CHUNK:
            transaction.on_commit(partial(_ring, job.pk), robust=True)
    if job.total <= CHUNK:
        drive(job.pk)
        job.refresh_from_db()
    return job


def _fill(job: BulkDecision, choice: Choice) -> None:
    """Count what was chosen and keep it with the job, the steps of one run beside each other."""
    asked = list(choosing.select(choice, job.by).order_by("run_id", "seq").values_list("pk", "team_id")[: MOST + 1])
    _require_bearable(len(asked))
    teams = {team for _, team in asked}
    job.team_id, job.total = teams.pop() if len(teams) == 1 else None, len(asked)
    job.save(force_insert=True)
    BulkItem.objects.bulk_create(
        BulkItem(bulk=job, place=place, approval_id=pk) for place, (pk, _) in enumerate(asked, 1)
    )


def _require_role(by: User, request_id: UUID) -> None:
    if not by.may_somewhere(Permission.DECIDE):
        sentence = "Deciding takes the role reviewer in the team of the request."
        about = Subject("bulkdecision", str(request_id), "many requests")
        audit.refuse("approval.bulk_asked", about=about, by=by, because=sentence, request_id=request_id)


def _checked(answer: str, code: str, reason: str) -> Decision.Answer:
    if answer not in ANSWERS:
        known = " or ".join(ANSWERS)
        raise errors.Invalid(f"`answer` is {known} where many are decided, not {answer!r}.", field="answer")
    chosen = Decision.Answer(answer)
    if not reason:
        raise errors.Invalid("Say why: it is kept with each of them.", field="reason")
    limits.require_short(reason)
    if code and (chosen != Decision.Answer.REJECT or code not in Decision.Code.values):
        known = ", ".join(Decision.Code.values)
        raise errors.Invalid(f"`code` comes with reject and is one of {known}, not {code!r}.", field="code")
    return chosen


def _require_bearable(number: int) -> None:
    if not number:
        raise errors.Conflict("Nothing that you can see matches; it may have been decided meanwhile.")
    if number > MOST:
        raise errors.Invalid(f"More than {MOST:,} match; narrow the filter, or do it in parts.", field="filter")


def _same(earlier: BulkDecision, asked: BulkDecision, choice: Choice) -> BulkDecision:
    """The job that this request made before; refused where it is another one that comes under its id."""
    if earlier.by_id != asked.by_id:
        raise errors.Conflict("This request id was used for another job; make a new one.", field="request_id")
    is_same = all(getattr(earlier, name) == getattr(asked, name) for name in ("answer", "code", "chosen"))
    if is_same and choice.ids and not choice.groups:
        is_same = not earlier.items.exclude(approval__in=choice.ids).exists()
    if not is_same:
        raise errors.Conflict(
            f"This request id was used before, to {earlier.answer} {earlier.chosen}, which counts. For this make a new "
            "request id.",
            field="request_id",
        )
    return earlier


def _ring(bulk_id: UUID) -> None:
    tasks.decide_in_bulk.apply_async((str(bulk_id),), queue="bulk")


def drive(bulk_id: UUID) -> None:
    """Work on a job until nothing waits in it; one that somebody else drives is left alone."""
    token = _claim(bulk_id)
    while token is not None and _chunk(bulk_id, token):
        pass


def ring_again() -> int:
    """Jobs that nobody drives, because their message or their driver was lost; how many. Called by the tick."""
    lost = _undriven().filter(created_at__lt=timezone.now() - timedelta(seconds=3)).order_by("created_at")
    waiting = list(lost.values_list("pk", flat=True)[:50])
    if not waiting or courier.laden() is None:
        return 0
    for bulk_id in waiting:
        _ring(bulk_id)
    return len(waiting)


def _undriven() -> BulkQuerySet:
    free = Q(lease_until__isnull=True) | Q(lease_until__lt=timezone.now())
    found: BulkQuerySet = BulkDecision.objects.filter(
        free, state__in=[BulkDecision.State.QUEUED, BulkDecision.State.RUNNING]
    )
    return found


@transaction.atomic
def _claim(bulk_id: UUID) -> int | None:
    """The token of a lease on it; None where it has ended or somebody drives it. One that kills its drivers fails."""
    job: BulkDecision | None = _undriven().filter(pk=bulk_id).select_for_update().first()
    if job is None:
        return None
    job.deaths += job.state == BulkDecision.State.RUNNING
    if job.deaths > MOST_DEATHS:
        _finish(job, BulkDecision.State.FAILED)
        return None
    job.state, job.lease_token, job.lease_until = (
        BulkDecision.State.RUNNING,
        job.lease_token + 1,
        timezone.now() + LEASE,
    )
    job.save(update_fields=["state", "lease_token", "lease_until", "deaths"])
    return job.lease_token


@transaction.atomic
def _chunk(bulk_id: UUID, token: int) -> bool:
    """Decide the next ones and keep how far it came; whether there is more. Nothing where the lease is lost."""
    mine = BulkDecision.objects.filter(pk=bulk_id, lease_token=token, state=BulkDecision.State.RUNNING)
    job = mine.select_for_update(of=("self",)).select_related("by").first()
    if job is None:
        return False
    waiting = job.items.filter(state=BulkItem.State.WAITING).order_by("place")
    asked = {item.approval_id: item.request_id for item in waiting[:CHUNK]}
    made = decisions.decide_many(asked, Given(job.by, job.answer, job.reason, job.code))
    left = [(pk, one.message) for pk, one in zip(asked, made, strict=True) if isinstance(one, errors.DomainError)]
    _mark(job, asked, left)
    job.decided, job.left, job.deaths = job.decided + len(asked) - len(left), job.left + len(left), 0
    job.lease_until = timezone.now() + LEASE
    if job.looked_at >= job.total or not asked:
        _finish(job, BulkDecision.State.DONE)
    else:
        job.save(update_fields=["decided", "left", "deaths", "lease_until"])
    signals.bulk_progressed.send(BulkDecision, bulk_id=job.pk)
    return not job.has_ended


def _mark(job: BulkDecision, asked: Iterable[UUID], left: Iterable[tuple[UUID, str]]) -> None:
    reasons: dict[str, list[UUID]] = defaultdict(list)
    for pk, why in left:
        reasons[why].append(pk)
    for why, pks in reasons.items():
        job.items.filter(approval__in=pks).update(state=BulkItem.State.LEFT, why=why)
    waiting = job.items.filter(approval__in=list(asked), state=BulkItem.State.WAITING)
    waiting.update(state=BulkItem.State.DECIDED)


def _finish(job: BulkDecision, state: BulkDecision.State) -> None:
    job.state, job.finished_at, job.lease_until = state, timezone.now(), None
    job.save(update_fields=["state", "finished_at", "lease_until", "decided", "left", "deaths"])
    audit.record(
        "approval.bulk_ended", about=job, by=job.by, reason=job.summary, decided=job.decided, left=job.left, state=state
    )


def reasons(job: BulkDecision) -> list[tuple[str, int]]:
    """Why requests were left, the most frequent reason first."""
    counted: dict[str, int] = defaultdict(int)
    for why in job.items.filter(state=BulkItem.State.LEFT).values_list("why", flat=True):
        counted[why] += 1
    return sorted(counted.items(), key=lambda one: -one[1])


def still_open(job: BulkDecision) -> int:
    """How many of those left still wait for somebody."""
    return job.items.filter(state=BulkItem.State.LEFT, approval__state=Approval.State.OPEN).count()
