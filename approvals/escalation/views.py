"""The post that acknowledges a question, and the pages on which a team's policy and hours are read and changed."""

from typing import Any
from uuid import UUID

from django.http import Http404, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from agents import errors
from agents.models import Permission, Team, User
from agents.pages import PersonRequest
from approvals import question as questions
from approvals.escalation import acknowledging, forms, publishing, reading
from approvals.escalation import ladder as ladders
from approvals.escalation.models import BusinessCalendar, EscalationPolicy
from approvals.models import SLO
from approvals.views import place_of, stayed

PAGE = "approvals/escalation/policy.html"


@require_POST
def acknowledgement(request: PersonRequest, approval_id: UUID) -> HttpResponseBase:
    """Say that one looks at it."""
    found = get_object_or_404(questions.whole(request.actor), pk=approval_id)
    acknowledging.acknowledge(found, by=request.actor)
    again = get_object_or_404(questions.whole(request.actor), pk=approval_id)
    return stayed(request, again, place_of(request.POST))


@require_safe
def policies(request: PersonRequest) -> HttpResponse:
    """What holds for each of one's teams: who would be asked now, and when."""
    teams = _teams(request.actor)
    governing = publishing.governing(team.pk for team in teams)
    rows = [{"team": team, **_shown(*governing[team.pk])} for team in teams]
    everywhere, _ = request.actor.places(Permission.SEE)
    context = {"rows": rows, "sees_all": everywhere, "now": timezone.now()}
    return render(request, "approvals/escalation/policies.html", context)


@require_safe
def policy(request: PersonRequest, team: str) -> HttpResponse:
    """One team's policy and hours, with the forms that change them where one may."""
    return render(request, PAGE, _page(_team(request.actor, team), request.actor))


@require_POST
def publish_policy(request: PersonRequest, team: str) -> HttpResponse:
    """Publish what the form says, or show what it would do. What is wrong is said in the form, which keeps the rest."""
    found = _team(request.actor, team)
    given = forms.policy(request.POST, found.slug)
    try:
        if "preview" in request.POST:
            return render(request, PAGE, _page(found, request.actor, given=given))
        publishing.publish_policy(given, by=request.actor)
    except errors.Invalid as error:
        kept = {"form": forms.shown_policy(given), "wrong_policy": error.message}
        return render(request, PAGE, _page(found, request.actor) | kept, status=error.status)
    return redirect("approvals:escalation-policy", found.slug)


@require_POST
def publish_calendar(request: PersonRequest, team: str) -> HttpResponse:
    """Publish the hours that the form says; likewise."""
    found = _team(request.actor, team)
    try:
        publishing.publish_calendar(forms.calendar(request.POST, found.slug), by=request.actor)
    except errors.Invalid as error:
        kept = {"hours": forms.kept_calendar(request.POST), "wrong_hours": error.message}
        return render(request, PAGE, _page(found, request.actor) | kept, status=error.status)
    return redirect("approvals:escalation-policy", found.slug)


def _teams(user: User) -> list[Team]:
    everywhere, teams = user.places(Permission.SEE)
    rows = Team.objects.order_by("name", "slug")
    return list(rows if everywhere else rows.filter(pk__in=teams))


def _team(user: User, slug: str) -> Team:
    found = next((team for team in _teams(user) if team.slug == slug), None)
    if found is None:
        raise Http404
    return found


def _shown(name: str, content: ladders.Json, calendar: ladders.Json | None) -> dict[str, Any]:
    return {"name": name, "content": content, "calendar": calendar, "steps": _steps(name, content, calendar)}


def _steps(name: str, content: ladders.Json, calendar: ladders.Json | None) -> list[reading.Step]:
    frozen = ladders.freeze(content, name=name, calendar=calendar, within=SLO, level=1, holds=False)
    return reading.preview(frozen, at=timezone.now())


def _page(team: Team, user: User, *, given: ladders.Json | None = None) -> dict[str, Any]:
    """What the page shows; `given` is a policy that was only tried."""
    governing = _shown(*publishing.governing([team.pk])[team.pk])
    tried = publishing.checked_policy(given) if given else None
    content = tried or governing["content"]
    steps = _steps("as written here", tried, governing["calendar"]) if tried else governing["steps"]
    history = EscalationPolicy.objects.filter(team=team).select_related("published_by").order_by("-version")[:10]
    return {
        "team": team,
        **governing,
        "steps": steps,
        "is_tried": tried is not None,
        "form": forms.shown_policy(content),
        "hours": forms.shown_calendar(governing["calendar"]),
        "history": history,
        "own_hours": BusinessCalendar.objects.in_force().filter(team=team).first(),
        "may_publish": publishing.may_publish(user, team),
        "now": timezone.now(),
    }
