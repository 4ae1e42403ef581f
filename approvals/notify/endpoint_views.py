"""Pages of endpoints: those of one's teams, a new one, one with what was sent there, and what can be done with it."""

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.http import HttpResponse, HttpResponseBase, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from agents import errors
from agents.keyset import cut
from agents.models import Permission, Team, User
from agents.pages import PersonRequest, request_id
from approvals.notify import connecting
from approvals.notify.connecting import Wanted
from approvals.notify.models import Endpoint, Notification

ROWS = 50
MOST = 200


@require_safe
def endpoints(request: PersonRequest) -> HttpResponse:
    """The endpoints of the teams whose endpoints this person looks after."""
    found = list(_shown(request.actor).standing().order_by("team__name", "name")[:MOST])
    context = {"endpoints": found, "may_connect": request.actor.may_somewhere(Permission.CONNECT)}
    part = "#endpoints" if request.htmx.target == "endpoints" else ""
    return render(request, f"approvals/endpoints.html{part}", context)


@require_http_methods(["GET", "HEAD", "POST"])
def new_endpoint(request: PersonRequest) -> HttpResponse:
    """The form; added, by POST. The secret we made is on the answer and nowhere else."""
    context: dict[str, Any] = {}
    if request.method == "POST":
        team = _teams(request.actor).filter(slug=request.POST.get("team", "")).first() or _only(request.actor)
        endpoint, secret = connecting.add(
            team, _wanted(request.POST), by=request.actor, request_id=request_id(request.POST)
        )
        context = {"endpoint": endpoint, "secret": secret}
        if request.htmx:
            return render(request, "approvals/endpoint_new.html#added", context)
    elif not request.actor.may_somewhere(Permission.CONNECT):
        raise errors.Forbidden("Endpoints are looked after by the roles governance and admin.")
    else:
        context = {
            "teams": list(_teams(request.actor).order_by("name")),
            "kinds": Endpoint.Kind.choices,
            "facts": [(one, one.label.capitalize()) for one in connecting.FACTS],
        }
    return render(request, "approvals/endpoint_new.html", context)


@require_safe
def endpoint(request: PersonRequest, endpoint_id: UUID) -> HttpResponse:
    """One endpoint and what was sent there, the newest first."""
    return _page(request, get_object_or_404(_shown(request.actor), pk=endpoint_id))


@require_POST
def test(request: PersonRequest, endpoint_id: UUID) -> HttpResponseBase:
    """Send a test; its line says what came of it."""
    found = get_object_or_404(_shown(request.actor), pk=endpoint_id)
    connecting.try_out(found, by=request.actor, request_id=request_id(request.POST))
    return _done(request, found)


@require_POST
def activation(request: PersonRequest, endpoint_id: UUID) -> HttpResponseBase:
    """Switch it on again."""
    found = get_object_or_404(_shown(request.actor), pk=endpoint_id)
    connecting.switch_on(found, by=request.actor, reason=_reason(request.POST), request_id=request_id(request.POST))
    return _done(request, found)


@require_POST
def removal(request: PersonRequest, endpoint_id: UUID) -> HttpResponseBase:
    """Remove it."""
    found = get_object_or_404(_shown(request.actor), pk=endpoint_id)
    connecting.remove(found, by=request.actor, reason=_reason(request.POST), request_id=request_id(request.POST))
    return redirect("notify:endpoints")


def _shown(user: User) -> Any:
    return Endpoint.objects.connected_by(user).select_related("team")


def _teams(user: User) -> QuerySet[Team]:
    everywhere, teams = user.places(Permission.CONNECT)
    return Team.objects.all() if everywhere else Team.objects.filter(pk__in=teams)


def _only(user: User) -> Team:
    """The one team whose endpoints this person looks after; who has several must say which."""
    teams = list(_teams(user)[:2])
    if not teams:
        raise errors.Forbidden("Endpoints are looked after by the roles governance and admin.")
    if len(teams) > 1:
        raise errors.Invalid("Choose the team whose endpoint this is.", field="team")
    return teams[0]


def _wanted(posted: QueryDict) -> Wanted:
    return Wanted(
        name=posted.get("name", ""),
        kind=posted.get("kind", ""),
        address=posted.get("address", ""),
        secret=posted.get("secret", ""),
        secret_env=posted.get("secret_env", ""),
        facts=posted.getlist("facts"),
    )


def _page(request: PersonRequest, found: Endpoint) -> HttpResponse:
    sent = Notification.objects.filter(endpoint=found, channel=Notification.Channel.ENDPOINT).defer("content")
    page = cut(sent, key="-id", limit=ROWS, cursor=request.GET.get("cursor", ""))
    part = "#endpoint" if request.htmx.target == "endpoint" else ""
    here = request.get_full_path() if request.method == "GET" else reverse("notify:endpoint", args=[found.pk])
    context = {"endpoint": found, "rows": page.rows, "next_cursor": page.next_cursor, "here": here}
    return render(request, f"approvals/endpoint.html{part}", context)


def _done(request: PersonRequest, found: Endpoint) -> HttpResponseBase:
    if not request.htmx:
        return redirect("notify:endpoint", found.pk)
    return _page(request, get_object_or_404(_shown(request.actor), pk=found.pk))


def _reason(posted: QueryDict) -> str:
    return posted.get("reason", "").strip()[:2000]
