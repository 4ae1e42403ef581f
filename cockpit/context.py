"""What the shell around every page shows."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest


def shell(request: HttpRequest) -> dict[str, Any]:
    """Values for base.html: the organisation's name. Counts come as fragments, so that they stay live."""
    return {"organisation": settings.ORGANISATION}
