"""Opening a session: at once for who has no second factor, else after it was shown.

Between the two steps nobody is signed in: the session knows whose password was right, and when. Apart from `access`
because the same door asks browsers for passkeys, of who signs in and of who has.
"""

from datetime import datetime, timedelta
from urllib.parse import urlencode

from django.conf import settings
from django.contrib.auth import login
from django.contrib.auth.decorators import login_not_required
from django.db import transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from agents import errors
from agents.audit import log as audit
from agents.models import User
from agents.people import factors, proving
from cockpit import preferences

WAITING = "signing_in"
PATIENCE = timedelta(minutes=5)


@transaction.atomic
def enter(request: HttpRequest, user: User, *, leads_to: str, factor: str = "") -> HttpResponse:
    """Open the session and go where the person wanted to go."""
    login(request, user, backend=settings.AUTHENTICATION_BACKENDS[0])
    audit.record("person.signed_in", about=user, by=user, address=address_of(request), factor=factor)
    response = redirect(leads_to)
    preferences.keep(request, response, "theme", user.theme)
    return response


def begin(request: HttpRequest, user: User, *, leads_to: str) -> HttpResponse:
    """The password was right; the second factor is asked for on a page of its own."""
    request.session.cycle_key()
    request.session[WAITING] = {"user": str(user.pk), "at": timezone.now().isoformat(), "next": leads_to}
    return redirect("second-factor")


def _waiting(request: HttpRequest) -> User | None:
    """Whose password was right in this session, a moment ago."""
    kept = request.session.get(WAITING)
    if not kept or timezone.now() - datetime.fromisoformat(kept["at"]) > PATIENCE:
        return None
    return User.objects.filter(pk=kept["user"], is_active=True).first()


@never_cache
@login_not_required
@sensitive_post_parameters("factor_code")
@require_http_methods(["GET", "HEAD", "POST"])
def second_factor(request: HttpRequest) -> HttpResponse:
    """Ask for the second factor, then open the session. It counts as shown just now."""
    user = _waiting(request)
    if user is None:
        return redirect(f"{reverse('login')}?{urlencode({'next': request.session.get(WAITING, {}).get('next', '')})}")
    refused = ""
    if request.method == "POST":
        try:
            kind = proving.check(request, user)
        except errors.DomainError as error:
            refused = error.message
        else:
            leads_to = request.session.pop(WAITING)["next"] or settings.LOGIN_REDIRECT_URL
            answer = enter(request, user, leads_to=leads_to, factor=kind)
            proving.note(request, user)
            return answer
    context = {"proof": proving.wanted(user), "refused": refused, "name": user.name}
    return render(request, "registration/second_factor.html", context, status=422 if refused else 200)


@never_cache
@login_not_required
@require_POST
def challenge(request: HttpRequest) -> JsonResponse:
    """What a browser needs to show a passkey: of who is signed in, or of whose password was right."""
    user = request.user if isinstance(request.user, User) else _waiting(request)
    if user is None:
        raise errors.Forbidden("Sign in first: name and password, then the passkey.")
    return JsonResponse(factors.ask_passkey(user))


def address_of(request: HttpRequest) -> str:
    """Where the request came from, as the server saw it."""
    return str(request.META.get("REMOTE_ADDR", ""))
