"""How a person wants to see the cockpit: theme, time zone, UTC or local.

Theme and zone are kept with the person, and in cookies for a browser nobody has signed in with. Apart from `access`
because every request reads this and only the pages there write it.
"""

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from agents.models import User

THEMES = ("", "light", "dark")
CLOCKS = ("zone", "utc")
A_YEAR = 365 * 86400


def zone_of(request: HttpRequest) -> ZoneInfo | None:
    """The zone to show times in: UTC if switched so, else the person's, else the browser's, else the installation's."""
    return ZoneInfo("UTC") if is_utc(request) else _zone(own_zone(request))


def own_zone(request: HttpRequest) -> str:
    """The name of the person's own zone, whatever the clock is switched to."""
    chosen = request.user.zone if isinstance(request.user, User) else ""
    for name in (chosen, request.COOKIES.get("zone", "")):
        if _zone(name):
            return name
    return settings.TIME_ZONE


def follows_browser(request: HttpRequest) -> bool:
    """Whether the page should tell us the browser's zone."""
    return not (isinstance(request.user, User) and request.user.zone)


def is_utc(request: HttpRequest) -> bool:
    """Whether this browser was switched to UTC."""
    return request.COOKIES.get("clock") == "utc"


def theme_of(request: HttpRequest) -> str:
    """`light`, `dark`, or empty to follow the system; written into the page, so that it never flashes."""
    chosen = request.user.theme if isinstance(request.user, User) else request.COOKIES.get("theme", "")
    return chosen if chosen in THEMES else ""


def keep(request: HttpRequest, response: HttpResponse, name: str, value: str) -> None:
    """Remember a choice in this browser."""
    if value:
        response.set_cookie(name, value, max_age=A_YEAR, samesite="Lax", secure=settings.SESSION_COOKIE_SECURE)
    else:
        response.delete_cookie(name, samesite="Lax")


def _zone(name: str) -> ZoneInfo | None:
    """The zone of that name, or None: names come from cookies, and databases of zones differ between machines."""
    try:
        return ZoneInfo(name) if name else None
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None
