"""The audit page: who did what to what, when and why, and how far the log is sealed."""

from typing import Any

from django.db.models import F
from django.http import HttpResponse, QueryDict
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from agents.audit import sealing
from agents.audit.models import AuditEntry
from agents.keyset import cut
from agents.pages import PersonRequest

ROWS = 100
KINDS = [
    ("run", "Runs"),
    ("agent", "Agents"),
    ("approval", "Approvals"),
    ("user", "People"),
    ("token", "Tokens"),
    ("model", "Models"),
]
FILTERS = {
    "kind": "subject_kind",
    "outcome": "outcome",
    "verb": "verb",
    "by": "by_name__iexact",
    "subject": "subject_id",
}
SHOWN = ("change", "failure_class", "version", "answer", "role", "team", "address")
"""What of an entry's detail a person wants to read in a list; the API has all of it."""


@require_safe
def audit(request: PersonRequest) -> HttpResponse:
    """Entries one may read, newest first; kind, outcome, verb, person and subject narrow them."""
    if request.htmx.target == "sealing":
        return render(request, "agents/audit.html#sealing", {"standing": sealing.standing()})
    wanted = {name: request.GET.get(name, "").strip() for name in FILTERS}
    fields = {FILTERS[name]: value for name, value in wanted.items() if value}
    shown = AuditEntry.objects.visible_to(request.actor).filter(**fields).annotate(place=F("leaf__seq"))
    page = cut(shown, key="-id", limit=ROWS, cursor=request.GET.get("cursor", ""))
    part = "#list" if request.htmx.target == "list" else ""
    context = {
        "standing": None if part else sealing.standing(),
        "entries": [_told(entry) for entry in page.rows],
        "next_cursor": page.next_cursor,
        "kinds": KINDS,
        "outcomes": AuditEntry.Outcome.choices,
        "narrowed": narrowed(request.path, request.GET),
        "is_filtered": bool(fields),
    }
    return render(request, f"agents/audit.html{part}", context)


def narrowed(path: str, given: QueryDict) -> list[tuple[str, str]]:
    """Filters that no chip offers, each with the address without it."""
    words = {"by": "by {}", "verb": "{}", "subject": "one thing only"}
    found = []
    for name, word in words.items():
        if value := given.get(name, "").strip():
            rest = given.copy()
            for gone in (name, "cursor"):
                rest.pop(gone, None)
            found.append((word.format(value), f"{path}?{rest.urlencode()}" if rest else path))
    return found


def _told(entry: AuditEntry) -> Any:
    """An entry with what its row says besides: whether it is of another day, and the telling part of its detail."""
    row: Any = entry
    row.day = timezone.localtime(entry.at).date() != timezone.localdate()
    row.told = ", ".join(f"{name.replace('_', ' ')} {entry.detail[name]}" for name in SHOWN if entry.detail.get(name))
    return row
