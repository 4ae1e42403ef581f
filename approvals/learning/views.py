"""The pages of what decisions teach: labels, and how people review."""

from collections.abc import AsyncIterator

from asgiref.sync import sync_to_async
from django.db import connection
from django.db.models import QuerySet
from django.http import HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from agents.audit import log as audit
from agents.keyset import cut
from agents.models import Permission
from agents.pages import PersonRequest
from agents.registry.api import agents_named
from approvals.learning import criteria
from approvals.learning import labels as lessons
from approvals.learning import reviewers as people
from approvals.learning.models import Plant
from approvals.models import Decision

ROWS = 50
PLANTS = 50


@require_safe
def labels(request: PersonRequest) -> HttpResponse:
    """What decisions teach, the newest first."""
    agent = request.GET.get("agent", "")
    named = agents_named(request.actor, [agent]) if agent else []
    page = cut(
        lessons.decisions(request.actor, agents=named), key="-id", limit=ROWS, cursor=request.GET.get("cursor", "")
    )
    context = {"rows": lessons.labelled(page.rows), "next_cursor": page.next_cursor, "agent": agent}
    return render(request, "approvals/learning/labels.html", context)


@require_safe
def labels_jsonl(request: PersonRequest) -> StreamingHttpResponse:
    """All of them as a file, one JSON object a line. Kept in the audit log: it holds what people and agents wrote."""
    agent = request.GET.get("agent", "")
    named = agents_named(request.actor, [agent]) if agent else []
    found = lessons.decisions(request.actor, agents=named)
    audit.record("labels.exported", about=audit.Subject("labels", agent or "all", "labels"), by=request.actor)
    name = f"labels{f'-{agent}' if agent else ''}-{timezone.now():%Y-%m-%d}.jsonl"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingHttpResponse(_lines(found), content_type="application/jsonl; charset=utf-8", headers=headers)


async def _lines(found: QuerySet[Decision]) -> AsyncIterator[str]:
    """The file, a page at a time; of an iterator that is not asynchronous the server would make a list first."""
    cursor: str | None = ""
    while cursor is not None:
        text, cursor = await sync_to_async(_some)(found, cursor)
        yield text


def _some(found: QuerySet[Decision], cursor: str) -> tuple[str, str | None]:
    """A page, with a connection that is given back: whoever downloads may be slow."""
    try:
        labels, cursor_behind = lessons.some(found, cursor)
        return "".join(map(lessons.line, labels)), cursor_behind
    finally:
        if not connection.in_atomic_block:
            connection.close()


@require_safe
def reviewers(request: PersonRequest) -> HttpResponse:
    """How people review: everybody in the teams that one oversees, and always oneself; planted requests."""
    everywhere, teams = request.actor.places(Permission.PUBLISH)
    planted = Plant.objects.select_related("approval__agent", "by").order_by("-planted_at")
    mine = planted if everywhere else planted.filter(approval__team__in=teams)
    context = {
        "rows": people.of(request.actor),
        "wanted": criteria.current().reviewers,
        "oversees": request.actor.may_somewhere(Permission.OVERSEE),
        "governs": request.actor.may_somewhere(Permission.PUBLISH),
        "planted": mine[:PLANTS],
    }
    return render(request, "approvals/learning/reviewers.html", context)
