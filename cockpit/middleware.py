"""What every request carries, and how a domain error becomes an answer."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.cache import patch_vary_headers

from agents.errors import DomainError
from agents.models import User
from agents.pages import PersonRequest
from agents.people import proving
from cockpit import preferences


class CockpitRequest(PersonRequest):
    """The same, with the account itself, which pages about it change."""

    user: User


class PersonMiddleware:
    """Says who acts and in whose time zone times are shown."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Set `request.actor`; show times in the zone chosen for the length of this request."""
        request.actor = request.user  # type: ignore[attr-defined]  # CockpitRequest is what views declare
        if isinstance(request.user, User):
            request.user.assurance = proving.of_session(request)
        with timezone.override(preferences.zone_of(request)):
            response = self.get_response(request)
        # A fragment under a page's address must not be what Back shows in its place.
        patch_vary_headers(response, ["HX-Request", "HX-Target"])
        return response


class DomainErrorMiddleware:
    """Shows a domain error as a page or, to htmx, as a toast; nothing else catches one."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Nothing on the way in."""
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """The error's own status and sentence; bugs are left to crash."""
        if not isinstance(error, DomainError):
            return None
        is_fragment = bool(getattr(request, "htmx", False))
        template = "components/refusal.html" if is_fragment else "refusal.html"
        response = render(request, template, {"error": error}, status=error.status)
        if is_fragment:
            response["HX-Retarget"], response["HX-Reswap"] = "#toasts", "beforeend"
        return response
