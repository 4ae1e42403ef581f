"""Writing the audit log: one verb, called inside the transaction of the act it describes."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NoReturn
from uuid import UUID

from django.db import models

from agents import errors
from agents.audit.models import AuditEntry
from agents.people.models import User

ENGINE = "cockpit"


@dataclass(frozen=True, slots=True)
class Subject:
    """Something an entry can be about that is no row of the database, such as a model. It belongs to no team."""

    kind: str
    id: str
    name: str

    @classmethod
    def of(cls, about: models.Model) -> "Subject":
        """A row as a subject."""
        return cls(about._meta.model_name or "", str(about.pk), str(about))


def denied(verb: str, *, about: models.Model | Subject, by: User, because: str, request_id: UUID | None = None) -> None:
    """Keep a refused attempt. Call before any transaction that the refusal is going to roll back."""
    record(verb, about=about, by=by, reason=because, request_id=request_id, outcome=AuditEntry.Outcome.DENIED)


def refuse(
    verb: str, *, about: models.Model | Subject, by: User, because: str, request_id: UUID | None = None
) -> NoReturn:
    """Refuse whoever may not, with the sentence they are told, and keep the attempt; likewise before a transaction."""
    denied(verb, about=about, by=by, because=because, request_id=request_id)
    raise errors.Forbidden(because)


def record(
    verb: str,
    *,
    about: models.Model | Subject,
    by: User | None,
    reason: str = "",
    request_id: UUID | None = None,
    outcome: str = AuditEntry.Outcome.DONE,
    **detail: Any,
) -> AuditEntry:
    """Append one entry. `about` gives the subject and, if it has one, the team that may read it; `by=None` is the
    engine."""
    written = entry(verb, about=about, by=by, reason=reason, request_id=request_id, outcome=outcome, **detail)
    written.save(force_insert=True)
    return written


def entry(
    verb: str,
    *,
    about: models.Model | Subject,
    by: User | None,
    reason: str = "",
    request_id: UUID | None = None,
    outcome: str = AuditEntry.Outcome.DONE,
    **detail: Any,
) -> AuditEntry:
    """What `record` appends, for those who append many at once."""
    subject = about if isinstance(about, Subject) else Subject.of(about)
    return AuditEntry(
        by=by,
        by_name=by.username if by else ENGINE,
        verb=verb,
        outcome=outcome,
        subject_kind=subject.kind,
        subject_id=subject.id[:80],
        subject_name=subject.name[:200],
        team_id=getattr(about, "team_id", None),
        reason=reason,
        request_id=request_id,
        detail=detail,
    )


def append(entries: Iterable[AuditEntry]) -> None:
    """Append entries of one act about many things, in one statement."""
    AuditEntry.objects.bulk_create(entries)
