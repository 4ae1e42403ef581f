"""A person's own second factors: an authenticator app, passkeys, recovery codes.

Whoever changes them shows first that it is them: the factor they have, or the password while they have none. Somebody
at an unlocked desk must not add a factor of their own.
"""

import ipaddress
from base64 import b64encode
from collections.abc import Callable
from functools import wraps

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from agents import errors
from agents.people import factors, proving, tries
from cockpit.middleware import CockpitRequest

OFFERED = "authenticator_app"
PROTECTED = "Changing what protects your account"


@never_cache
@require_safe
def security(request: CockpitRequest) -> HttpResponse:
    """Which factors there are, and how to add one."""
    held = [(one, factors.name_of(one)) for one in factors.of(request.user) if one.type != factors.CODES]
    context = {
        "factors": held,
        "has_app": any(one.type == factors.APP for one, _ in held),
        "codes_left": len(factors.codes(request.user)),
        "proof": proving.wanted(request.user),
        "needs_name": _is_numeric(request),
    }
    return render(request, "registration/security.html", context)


View = Callable[[CockpitRequest], HttpResponse]


def _for_the_owner(view: View) -> View:
    """Who has a factor shows it before anything else is shown; afterwards the page they wanted comes up."""

    @wraps(view)
    @never_cache
    @sensitive_post_parameters()
    @require_http_methods(["GET", "HEAD", "POST"])
    def shown(request: CockpitRequest) -> HttpResponse:
        refused, user = "", request.user
        if user.assurance.is_fresh or not factors.kinds(user):
            return view(request)
        if request.method == "POST":
            try:
                proving.prove(request, user)
                proving.require_fresh(user, PROTECTED)
                return redirect(request.path)
            except errors.DomainError as error:
                refused = error.message
        context = {"proof": proving.wanted(user), "refused": refused}
        return render(request, "registration/prove.html", context, status=422 if refused else 200)

    return shown


@_for_the_owner
def app(request: CockpitRequest) -> HttpResponse:
    """Add an authenticator app: its picture to scan, and the code that shows that it was scanned."""
    secret = request.session.setdefault(OFFERED, factors.new_secret())
    refused = ""
    if request.method == "POST":
        try:
            _require_password(request)
            factors.add_app(request.user, secret=secret, code=request.POST.get("app_code", ""))
        except errors.DomainError as error:
            refused = error.message
        else:
            del request.session[OFFERED]
            return _added(request, "Your authenticator app is set up.")
    picture = b64encode(factors.qr_code(request.user, secret).encode()).decode()
    context = {
        "picture": f"data:image/svg+xml;base64,{picture}",
        "secret": " ".join(secret[at : at + 4] for at in range(0, len(secret), 4)),
        "proof": proving.wanted(request.user, password=True),
        "refused": refused,
    }
    return render(request, "registration/app.html", context, status=422 if refused else 200)


@_for_the_owner
def passkey(request: CockpitRequest) -> HttpResponse:
    """Add a passkey that this browser makes."""
    refused, name = "", request.POST.get("name", "")
    if request.method == "POST":
        try:
            _require_password(request)
            factors.add_passkey(request.user, name=name, credential=request.POST.get("made", ""))
        except errors.DomainError as error:
            refused = error.message
        else:
            return _added(request, "Your passkey is set up.")
    context = {"refused": refused, "proof": proving.wanted(request.user, password=True), "name": name}
    return render(request, "registration/passkey.html", context, status=422 if refused else 200)


@never_cache
@require_POST
def passkey_options(request: CockpitRequest) -> JsonResponse:
    """What the browser needs to make a passkey."""
    return JsonResponse(factors.offer_passkey(request.user))


@_for_the_owner
def codes(request: CockpitRequest) -> HttpResponse:
    """The recovery codes; a press makes new ones."""
    has_factor = bool(factors.kinds(request.user))
    if request.method == "POST" and has_factor:
        factors.renew_codes(request.user)
        messages.success(request, "These are new; the codes you had before open nothing any more.")
        return redirect("recovery-codes")
    context = {"codes": factors.codes(request.user) if has_factor else [], "has_factor": has_factor}
    return render(request, "registration/codes.html", context)


@require_POST
def removal(request: CockpitRequest, factor_id: int) -> HttpResponse:
    """Remove one factor of one's own."""
    if factor_id not in [one.pk for one in factors.of(request.user)]:
        raise errors.Missing()
    proving.prove(request, request.user)
    proving.require_fresh(request.user, PROTECTED)
    name = factors.remove(request.user, factor_id)
    messages.success(request, f"{name} is removed.")
    return redirect("security")


def _require_password(request: CockpitRequest) -> None:
    """Who has no factor yet shows the password: an unlocked desk must not be enough to add one."""
    user = request.user
    if factors.kinds(user):
        return  # it was shown before this page was
    key = f"password:{user.pk}"
    if tries.are_used_up(key):
        raise errors.Invalid(f"Too many wrong passwords. Wait {tries.FORGET_AFTER // 60} minutes, then try again.")
    if not user.check_password(request.POST.get("password", "")):
        tries.count(key)
        raise errors.Invalid("This is not your password.", field="password")
    tries.forget(key)


def _added(request: CockpitRequest, sentence: str) -> HttpResponse:
    """The new factor has just been shown; the recovery codes are what to keep next."""
    proving.note(request, request.user)
    messages.success(request, f"{sentence} Keep the recovery codes below where you find them without it.")
    return redirect("recovery-codes")


def _is_numeric(request: HttpRequest) -> bool:
    """Whether the cockpit was opened by a number: browsers make passkeys for names only."""
    host = request.get_host().rpartition(":")[0].strip("[]") or request.get_host()
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
