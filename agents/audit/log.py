"""Writing the audit log: one verb, called inside the transaction of the act it describes."""

from typing import Any
from uuid import UUID

from django.db import models

from agents.audit.models import AuditEntry
from agents.people.models import User

ENGINE = "cockpit"


def denied(verb: str, *, about: models.Model, by: User, because: str, request_id: UUID | None = None) -> None:
    """Keep a refused attempt. Call before any transaction that the refusal is going to roll back."""
    record(verb, about=about, by=by, reason=because, request_id=request_id, outcome=AuditEntry.Outcome.DENIED)


def record(
    verb: str,
    *,
    about: models.Model,
    by: User | None,
    reason: str = "",
    request_id: UUID | None = None,
    outcome: str = AuditEntry.Outcome.DONE,
    **detail: Any,
) -> AuditEntry:
    """Append one entry. `about` gives the subject and, if it has one, the team that may read it; `by=None` is the
    engine."""
    return AuditEntry.objects.create(
        by=by,
        by_name=by.username if by else ENGINE,
        verb=verb,
        outcome=outcome,
        subject_kind=about._meta.model_name or "",
        subject_id=str(about.pk),
        subject_name=str(about)[:200],
        team_id=getattr(about, "team_id", None),
        reason=reason,
        request_id=request_id,
        detail=detail,
    )
