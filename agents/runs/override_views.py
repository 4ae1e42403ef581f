"""The pages on which parameters of a run, or of all runs of an agent, are changed for a time and taken back.

The form is a page of its own, and the same form in a dialog on the page of the run or agent.
"""

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST
from django_htmx.http import trigger_client_event

from agents import errors
from agents.models import Agent, Run
from agents.pages import PersonRequest, reason_and_request_id
from agents.registry import parameters
from agents.runs import overridden, overriding

LASTS = {
    "15min": ("15 minutes", timedelta(minutes=15)),
    "1h": ("1 hour", overriding.USUALLY),
    "8h": ("8 hours", timedelta(hours=8)),
    "1d": ("1 day", timedelta(days=1)),
    "7d": ("7 days", overriding.LONGEST),
}
USUAL, TO_THE_END = "1h", "end"
PARTS = {"override-form": "agents/override.html#form", "override-value": "agents/override.html#value"}


@require_http_methods(["GET", "HEAD", "POST"])
def run_overrides(request: PersonRequest, run_id: UUID) -> HttpResponse:
    """What may be changed of a run; changed, by POST."""
    return _overrides(request, get_object_or_404(_runs(request), pk=run_id))


@require_http_methods(["GET", "HEAD", "POST"])
def agent_overrides(request: PersonRequest, slug: str) -> HttpResponse:
    """What may be changed of all runs of an agent; changed, by POST."""
    return _overrides(request, get_object_or_404(_agents(request), slug=slug))


@require_POST
def run_reversion(request: PersonRequest, run_id: UUID) -> HttpResponse:
    """A parameter of a run as its release says."""
    return _revert(request, get_object_or_404(_runs(request), pk=run_id))


@require_POST
def agent_reversion(request: PersonRequest, slug: str) -> HttpResponse:
    """A parameter of an agent as its release says."""
    return _revert(request, get_object_or_404(_agents(request), slug=slug))


def _runs(request: PersonRequest) -> QuerySet[Run]:
    found: QuerySet[Run] = Run.objects.visible_to(request.actor).select_related("agent", "release", "team")
    return found


def _agents(request: PersonRequest) -> QuerySet[Agent]:
    found: QuerySet[Agent] = Agent.objects.visible_to(request.actor).select_related("release", "team")
    return found


def _overrides(request: PersonRequest, subject: Run | Agent) -> HttpResponse:
    if request.method != "POST":
        template = PARTS.get(request.htmx.target or "", "agents/override.html")
        return render(request, template, _form(subject, request.GET.get("parameter", "")))
    posted = request.POST
    lasts = posted.get("lasts") or USUAL
    if lasts not in LASTS and lasts != TO_THE_END:
        raise errors.Invalid("The form says no time that is known here; reload the page.", field="lasts")
    made = overriding.override(
        subject,
        parameter=posted.get("parameter", ""),
        value=posted.get("value", ""),
        by=request.actor,
        expires_at=None if lasts == TO_THE_END else timezone.now() + LASTS[lasts][1],
        over=_over(posted.get("over", ""), posted.get("parameter", "")),
        **reason_and_request_id(posted),
    )
    return _done(request, subject, f"Changed from the next step on: {overriding.change(made)}.")


def _over(said: str, parameter: str) -> str | None:
    """The override that the form showed for this parameter. Without script another one may have been chosen since, of
    which it showed nothing."""
    path, colon, shown = said.rpartition(":")
    return shown if colon and path == parameter else None


def _revert(request: PersonRequest, subject: Run | Agent) -> HttpResponse:
    parameter = request.POST.get("parameter", "")
    overriding.revert(subject, parameter=parameter, by=request.actor, **reason_and_request_id(request.POST))
    return _done(request, subject, f"{parameter} is as the release says, from the next step on.")


def _done(request: PersonRequest, subject: Run | Agent, said: str) -> HttpResponse:
    """Beside a dialog what is in force now, or the page again without script."""
    if not request.htmx:
        return redirect(overridden.home(subject))
    answer = render(
        request,
        "agents/overrides.html",
        {"overridden": overridden.rows(subject), **overridden.may(subject, request.actor)},
    )
    return trigger_client_event(answer, "toast", {"hue": "ok", "text": said})


def _form(subject: Run | Agent, path: str) -> dict[str, Any]:
    offered = list(overriding.on_offer(subject))
    changed = overriding.in_force(subject)
    standing = overridden.standing(changed)
    now = {path: parameters.shown(path, one.value) for path, one in standing.items()}
    is_run = isinstance(subject, Run)
    chosen = next((one for one in offered if one.path == path), offered[0])
    own = next((one for one in changed if one.parameter == chosen.path and (one.run_id is not None) == is_run), None)
    return {
        "subject": subject,
        "is_run": is_run,
        "home": overridden.home(subject),
        "parameters": [(one.path, now.get(one.path, one.words)) for one in offered],
        "chosen": chosen,
        "now": now.get(chosen.path),
        "standing": standing.get(chosen.path),
        "own": own,
        "over": own.pk if own else "",
        "is_strict": parameters.is_strict(chosen.path),
        "beside": overridden.beside(subject.release.bundle if subject.release else {}, changed, chosen.path),
        "lasts": [(key, words) for key, (words, _) in LASTS.items() if not is_run or key != "7d"],
        "usual": USUAL,
        "to_the_end": TO_THE_END if is_run else "",
    }
