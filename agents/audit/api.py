"""The API's door to the audit log."""

from typing import Annotated, Any
from uuid import UUID

from django.db.models import F
from ninja import Query, Router

from agents import errors
from agents.audit import sealing
from agents.audit.log import ENGINE
from agents.audit.models import AuditEntry, AuditSeal
from agents.keyset import cut
from agents.wire import ActorRequest, Filters, Moment, Out, Page, Several, Wanted, Words, one_of

router = Router(tags=["audit"])

Outcome = Annotated[AuditEntry.Outcome, one_of(AuditEntry.Outcome)]


class SubjectOut(Out):
    """What an entry is about."""

    kind: str
    id: str
    name: Words


class EntryOut(Out):
    """Who did what to what, when and why."""

    id: int
    at: Moment
    by: str
    verb: str
    outcome: Outcome
    subject: SubjectOut
    team: str | None
    reason: Words
    request_id: UUID | None
    detail: dict[str, Any]
    place: int | None


class AuditFilters(Filters):
    """Which entries."""

    verb: Wanted = ""
    outcome: Annotated[list[Outcome], Several] = []
    by: Wanted = ""
    subject: Wanted = ""


@router.get("", response=Page[EntryOut], operation_id="list_audit", summary="The audit log, newest first")
def list_audit(request: ActorRequest, filters: Query[AuditFilters]) -> Page[EntryOut]:
    """Entries of your teams and your own, refused and failed attempts as well."""
    entries = AuditEntry.objects.visible_to(request.actor).select_related("team").annotate(place=F("leaf__seq"))
    if filters.verb:
        entries = entries.filter(verb=filters.verb)
    if filters.outcome:
        entries = entries.filter(outcome__in=filters.outcome)
    if filters.by:
        entries = entries.filter(by=None) if filters.by == ENGINE else entries.filter(by__username__iexact=filters.by)
    if filters.subject:
        kind, ident = _subject(filters.subject)
        entries = entries.filter(subject_kind=kind, subject_id=ident)
    found = cut(entries, key="-id", limit=filters.limit, cursor=filters.cursor)
    return Page(items=[_entry(entry) for entry in found.rows], next_cursor=found.next_cursor)


class SealOut(Out):
    """A signed statement over the first `size` entries; hashes and the public key are hexadecimal."""

    number: int
    size: int
    sealed_at: Moment
    root: str
    chain: str
    key: str


class SealingOut(Out):
    """How far the log is sealed. `late` is the alarm: an entry waits for longer than a minute."""

    sealed: int
    unsealed: int
    oldest_unsealed_age_s: float | None
    late: bool
    seal: SealOut | None


@router.get("/sealing", response=SealingOut, operation_id="get_sealing", summary="How far the audit log is sealed")
def get_sealing(request: ActorRequest) -> SealingOut:
    """The newest seal, and what waits for the next one."""
    standing = sealing.standing()
    last = AuditSeal.objects.order_by("-number").first()
    hashes = {name: bytes(getattr(last, name)).hex() for name in ("root", "chain", "key")} if last else {}
    return SealingOut.taken_from(
        standing, late=standing.is_late, seal=SealOut.taken_from(last, **hashes) if last else None
    )


def _subject(text: str) -> tuple[str, str]:
    kind, _, ident = text.partition(":")
    if not (kind and ident):
        raise errors.Invalid(
            f"`subject` is kind:id, such as run:019aa4c2-6f0e-7c31-8f5e-0d6f6f1c9a20; {text!r} is not.", field="subject"
        )
    return kind, ident


def _entry(entry: AuditEntry) -> EntryOut:
    subject = SubjectOut(kind=entry.subject_kind, id=entry.subject_id, name=entry.subject_name)
    return EntryOut.taken_from(entry, by=entry.by_name, subject=subject, team=entry.team.slug if entry.team else None)
