"""The gallery: a page made of every component, whose list is the teams there are. No room of the product, its parts."""

from datetime import timedelta
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import path
from django.utils import timezone
from django.views.decorators.http import require_POST
from django_htmx.http import trigger_client_event

from agents.errors import Conflict
from agents.models import Team
from cockpit.templatetags.drawing import Segment
from cockpit.urls import urlpatterns as product

DAYS = [f"2026-11-{day:02}" for day in range(1, 15)]


def gallery(request: HttpRequest) -> HttpResponse:
    part = request.GET.get("part")
    return render(request, f"gallery.html#{part}" if part else "gallery.html", _context())


@require_POST
def rename(request: HttpRequest, slug: str) -> HttpResponse:
    """An act with a reason; the team "locked" refuses it."""
    team = get_object_or_404(Team, slug=slug)
    if team.slug == "locked":
        raise Conflict("Locked can no longer be renamed: olga locked it at 14:02.")
    team.name = request.POST["reason"]
    team.save(update_fields=["name"])
    response = render(request, "gallery.html#teams", _context())
    return trigger_client_event(response, "toast", {"hue": "ok", "text": "Renamed."})


def _context() -> dict[str, Any]:
    now = timezone.now()
    ago = [now - timedelta(seconds=seconds) for seconds in (240, 228, 220, 200)]
    return {
        "now": now,
        "due": now + timedelta(minutes=11, seconds=19),
        "hues": ["ok", "busy", "wait", "warn", "bad", "still"],
        "teams": Team.objects.order_by("slug"),
        "choices": [("running", "Running", 38), ("waiting", "Waiting on people", 1240)],
        "segments": [
            Segment(ago[0], ago[1], "read the ticket"),
            Segment(ago[1], ago[2], "asked the carrier", "bad"),
            Segment(ago[3], None, "waiting on rhea", "wait"),
        ],
        "values": [3, 5, None, 4, 9, 7, 10],
        "figure": {
            "data": [
                {"type": "bar", "name": name, "x": DAYS, "y": [1 + day * step % 7 for day in range(14)]}
                for name, step in (("desk", 3), ("refunds", 5), ("dispatch", 2))
            ],
            "layout": {"barmode": "stack"},
        },
    }


urlpatterns = [path("gallery/", gallery), path("gallery/<slug:slug>/name/", rename, name="gallery-name"), *product]
