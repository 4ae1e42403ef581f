"""The audit page: who did what to what, when and why."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from agents.audit.models import AuditEntry
from agents.keyset import cut
from agents.people.models import User

ROWS = 100
KINDS = [
    ("run", "Runs"),
    ("agent", "Agents"),
    ("release", "Releases"),
    ("approval", "Approvals"),
    ("user", "People"),
    ("token", "Tokens"),
]


class Request(HttpRequest):
    """A request of somebody signed in."""

    actor: User


@require_safe
def audit(request: Request) -> HttpResponse:
    """Entries one may read, newest first; kind, outcome, verb, person and subject narrow them."""
    shown = AuditEntry.objects.visible_to(request.actor)
    wanted = {name: request.GET.get(name, "").strip() for name in ("kind", "outcome", "by", "subject")}
    if wanted["kind"]:
        shown = shown.filter(subject_kind=wanted["kind"])
    if wanted["outcome"]:
        shown = shown.filter(outcome=wanted["outcome"])
    if wanted["by"]:
        shown = shown.filter(by_name__iexact=wanted["by"])
    if wanted["subject"]:
        shown = shown.filter(subject_id=wanted["subject"])
    page = cut(shown, key="-id", limit=ROWS, cursor=request.GET.get("cursor", ""))
    context = {
        "entries": page.rows,
        "next_cursor": page.next_cursor,
        "kinds": KINDS,
        "outcomes": AuditEntry.Outcome.choices,
        "wanted": wanted,
        "is_filtered": any(wanted.values()),
    }
    part = "#list" if request.GET.get("part") == "list" else ""
    return render(request, f"agents/audit.html{part}", context)
