"""Pages about a person: signing in and out, their own settings, theme and clock.

Apart from the rooms because these are the only pages a stranger may open, and the only ones that write preferences.
"""

from zoneinfo import available_timezones

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import logout, update_session_auth_hash
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.forms import AuthenticationForm, PasswordChangeForm
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render, resolve_url
from django.utils.cache import patch_vary_headers
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from agents.audit import log as audit
from agents.models import AuditEntry, User
from agents.people import factors, tries
from approvals.notify import choosing
from cockpit import entering, preferences
from cockpit.middleware import CockpitRequest


class SignInForm(AuthenticationForm):
    """Name and password of a person; service accounts come through the API with a token."""

    error_messages = {
        "invalid_login": "That name and password do not belong together. Passwords care about capitals, names do not.",
        "inactive": "This account has been switched off. An administrator can switch it on again.",
    }

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]  # Django's own arguments, handed through
        self.fields["username"].label = "Name"

    def confirm_login_allowed(self, user: object) -> None:
        """Refuse what is switched off or is no person."""
        if isinstance(user, User) and user.kind != User.Kind.PERSON:
            raise forms.ValidationError("A service account signs in with a token, through the API.")
        super().confirm_login_allowed(user)  # type: ignore[arg-type]  # stubs want Django's own user


class ZoneForm(forms.Form):
    """The time zone of a person."""

    zone = forms.ChoiceField(
        label="Time zone",
        required=False,
        help_text="Every time in the cockpit is shown in this zone. The clock at the top switches to UTC and back.",
        error_messages={"invalid_choice": "%(value)s is no time zone. Choose one such as Europe/Berlin."},
    )

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]  # Django's own arguments, handed through
        names = sorted(name for name in available_timezones() if "/" in name and not name.startswith("Etc/"))
        self.fields["zone"].choices = [("", "As in this browser"), ("UTC", "UTC"), *((name, name) for name in names)]  # type: ignore[attr-defined]  # a ChoiceField


@never_cache
@login_not_required
@sensitive_post_parameters("password")
@require_http_methods(["GET", "HEAD", "POST"])
def sign_in(request: HttpRequest) -> HttpResponse:
    """Ask for name and password; too many wrong ones for a name from one address must wait."""
    if request.user.is_authenticated:
        return redirect(_next(request, settings.LOGIN_REDIRECT_URL))
    form, status, refused = SignInForm(request, data=request.POST or None), 200, ""
    if request.method == "POST":
        if tries.are_used_up(_key(request)):
            form, status = SignInForm(request, initial={"username": request.POST.get("username", "")}), 429
            refused = f"Too many tries for this name. Wait {tries.FORGET_AFTER // 60} minutes, then try again."
        elif form.is_valid():
            return _admit(request, form)
        else:
            _refuse(request)
            status = 422
    context = {"form": form, "refused": refused, "next": _next(request, "")}
    return render(request, "registration/login.html", context, status=status)


def _admit(request: HttpRequest, form: SignInForm) -> HttpResponse:
    """The password was right: ask for the second factor where the person has one, else open the session."""
    user = form.get_user()
    assert isinstance(user, User)
    tries.forget(_key(request))
    if factors.kinds(user):
        return entering.begin(request, user, leads_to=_next(request, ""))
    return entering.enter(request, user, leads_to=_next(request, settings.LOGIN_REDIRECT_URL))


def _refuse(request: HttpRequest) -> None:
    """Count a wrong try, and leave a trace with the account it was aimed at."""
    name = request.POST.get("username", "").strip()
    user = User.objects.filter(username__iexact=name).first()
    if user:
        audit.record(
            "person.signed_in",
            about=user,
            by=None,
            outcome=AuditEntry.Outcome.DENIED,
            address=entering.address_of(request),
        )
    tries.count(_key(request))


def _key(request: HttpRequest) -> str:
    """One count per address and name: neither a shared proxy nor a known name locks others out."""
    name = request.POST.get("username", "").strip().lower()[:80]
    return f"sign_in:{entering.address_of(request)}:{name.encode().hex()}"


@require_POST
def sign_out(request: CockpitRequest) -> HttpResponse:
    """End the session."""
    audit.record("person.signed_out", about=request.user, by=request.user, address=entering.address_of(request))
    logout(request)
    return redirect(settings.LOGOUT_REDIRECT_URL)


@require_http_methods(["GET", "HEAD", "POST"])
def me(request: CockpitRequest) -> HttpResponse:
    """A person's own page; its form stores the time zone."""
    form = ZoneForm(request.POST or None, initial={"zone": request.user.zone})
    if request.method == "POST" and form.is_valid():
        User.objects.filter(pk=request.user.pk).update(zone=form.cleaned_data["zone"])
        choosing.zone_changed(User.objects.get(pk=request.user.pk))
        messages.success(request, "Your time zone is stored.")
        return redirect("me")
    context = {"form": form, "memberships": request.user.memberships.select_related("team").order_by("role")}
    return render(request, "registration/me.html", context, status=422 if form.errors else 200)


@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
def password(request: CockpitRequest) -> HttpResponse:
    """Change one's password; this session stays open, others end."""
    form = PasswordChangeForm(request.user, request.POST or None)
    if request.method == "POST" and form.is_valid():
        with transaction.atomic():
            form.save()
            audit.record("person.password_changed", about=request.user, by=request.user)
        update_session_auth_hash(request, request.user)
        messages.success(request, "Your password is changed. Other sessions of yours have ended.")
        return redirect("me")
    return render(request, "registration/password.html", {"form": form}, status=422 if form.errors else 200)


@login_not_required
@require_POST
def theme(request: HttpRequest) -> HttpResponse:
    """Light, dark or as the system says; kept with the person and in this browser."""
    chosen = request.POST.get("theme", "")
    if chosen not in preferences.THEMES:
        return HttpResponse(
            "theme is light, dark or empty to follow the system.", status=422, content_type="text/plain"
        )
    if isinstance(request.user, User):
        User.objects.filter(pk=request.user.pk).update(theme=chosen)
    return _kept(request, "theme", chosen)


@login_not_required
@require_POST
def clock(request: HttpRequest) -> HttpResponse:
    """UTC or the person's own zone, in this browser."""
    chosen = request.POST.get("clock", "")
    if chosen not in preferences.CLOCKS:
        return HttpResponse("clock is zone or utc.", status=422, content_type="text/plain")
    return _kept(request, "clock", "utc" if chosen == "utc" else "")


def _kept(request: HttpRequest, name: str, value: str) -> HttpResponse:
    """Store the choice in the browser; back to the page, or nothing more when a script asked."""
    asked_by_script = request.headers.get("Accept") == "application/json"
    response = HttpResponse(status=204) if asked_by_script else redirect(_next(request, settings.LOGIN_REDIRECT_URL))
    preferences.keep(request, response, name, value)
    patch_vary_headers(response, ["Accept"])
    return response


def _next(request: HttpRequest, otherwise: str) -> str:
    """Where to go afterwards: an address of our own, never another site's."""
    wanted = request.POST.get("next") or request.GET.get("next", "")
    own = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure())
    return wanted if own else otherwise and resolve_url(otherwise)
