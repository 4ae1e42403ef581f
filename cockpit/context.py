"""What the shell around every page shows: the rooms, who looks, and how this person wants to see it."""

import time
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.urls import get_script_prefix
from django.utils import timezone
from django.utils.functional import SimpleLazyObject

from agents.models import User
from approvals import solo
from cockpit import preferences


@dataclass(frozen=True)
class Room:
    """A place in the navigation. With `topics` a counter stands beside its name: `<path>count/`, kept live."""

    name: str
    place: str
    icon: str
    topics: str = ""


ROOMS = (
    Room("Fleet", "", "fleet"),
    Room("Agents", "agents/", "agents"),
    Room("Runs", "runs/", "runs"),
    Room("Approvals", "approvals/", "approvals", topics="approvals"),
    Room("Policies", "policies/", "policies"),
    Room("Costs", "costs/", "costs"),
    Room("Audit", "audit/", "audit"),
)


def shell(request: HttpRequest) -> dict[str, Any]:
    """Values for base.html. Figures come as fragments, so that they stay live."""
    return {
        "organisation": settings.ORGANISATION,
        "rooms": [_shown(room, request.path) for room in ROOMS],
        "theme": preferences.theme_of(request),
        "is_utc": preferences.is_utc(request),
        "own_zone": preferences.own_zone(request),
        "zone": timezone.get_current_timezone_name(),
        "follows_browser": preferences.follows_browser(request),
        "rendered_at": int(time.time() * 1000),
        "roles": SimpleLazyObject(lambda: _roles(request)),
        "solo": SimpleLazyObject(solo.in_force),
    }


def _shown(room: Room, path: str) -> dict[str, str]:
    """A room as the navigation shows it: `page` when it is this very page, `true` when the page lies within it."""
    address = get_script_prefix() + room.place
    within = path.startswith(address) if room.place else False
    return {
        "name": room.name,
        "path": address,
        "icon": room.icon,
        "current": "page" if path == address else "true" if within else "",
        "count_url": f"{address}count/" if room.topics else "",
        "topics": room.topics,
    }


def _roles(request: HttpRequest) -> str:
    """`operator in Support, reviewer everywhere`: what the person may be asked to do here."""
    if not isinstance(request.user, User):
        return ""
    held = request.user.memberships.select_related("team").order_by("role", "team__name")
    return ", ".join(
        f"{one.get_role_display().lower()} {f'in {one.team}' if one.team else 'everywhere'}" for one in held
    )
