"""The pages of runs: the list, one run with its story, and the controls that steer it."""

from uuid import UUID

from django.db.models import QuerySet
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe
from django_htmx.http import trigger_client_event

from agents import errors
from agents.keyset import Cut, cut
from agents.models import Agent, Permission, Run
from agents.pages import PersonRequest, reason_and_request_id
from agents.runs import downloads, finding, interventions, page, pinning, windows

ROWS, COMING = 50, 5
FRAGMENTS = {
    "controls": "agents/run.html#controls",
    "standing": "agents/run.html#standing",
    "reading": "agents/run.html#reading",
    "story": "agents/run_story.html",
    "step": "agents/run_step.html",
}


def fragment(request: PersonRequest, template: str, *names: str) -> str:
    """The page's template, or the partial of it that htmx is to renew."""
    return f"{template}#{request.htmx.target}" if request.htmx.target in names else template


@require_safe
def runs(request: PersonRequest) -> HttpResponse:
    """Runs, newest first, filtered by the query bar; the query lives in the address. `as=csv|json` hands them over."""
    text = request.GET.get("q", "").strip()
    found: Cut[Run] = Cut([], None)
    problem = ""
    try:
        found = _found(request, text)
    except errors.Invalid as error:
        problem = error.message
    if request.GET.get("as") in downloads.TYPES and not problem:
        return downloads.answer(found.rows, query=text, suffix=request.GET["as"])
    context = {
        "runs": found.rows,
        "next_cursor": found.next_cursor,
        "q": text,
        "problem": problem,
        "views": [(name, query, text == query) for name, query in finding.VIEWS.values()],
        "words": [*finding.EXAMPLES.values(), *(f"state:{state}" for state in Run.State.values)],
        "agents": Agent.objects.visible_to(request.actor).values_list("slug", flat=True)[:100],
        "may_start": request.actor.may_somewhere(Permission.START),
    }
    return render(request, fragment(request, "agents/runs.html", "list"), context)


@require_safe
def announced(request: PersonRequest) -> HttpResponse:
    """What happens soon unless somebody stops it, for the pages of those who would; nothing when nothing does."""
    found = windows.coming(request.actor, limit=COMING + 1)
    context = {"steps": found[:COMING], "is_more": len(found) > COMING}
    return render(request, "agents/announced.html", context)


def _found(request: PersonRequest, text: str) -> Cut[Run]:
    rows = finding.find(request.actor, text)
    return cut(rows, key="-id", limit=ROWS, cursor=request.GET.get("cursor", ""))


@require_safe
def run(request: PersonRequest, run_id: UUID) -> HttpResponse:
    """One run: what it is doing, why, who approved, what it cost."""
    found = get_object_or_404(_shown(request), pk=run_id)
    target = request.htmx.target or ""
    return render(
        request, FRAGMENTS.get(target, "agents/run.html"), page.of(found, request.actor, request.GET, part=target)
    )


def _shown(request: PersonRequest) -> QuerySet[Run]:
    return finding.listed(request.actor).select_related("agent__frozen_by")


@require_POST
def pause(request: PersonRequest, run_id: UUID) -> HttpResponse:
    """Ask a run to stop before its next step."""
    found = get_object_or_404(Run.objects.visible_to(request.actor), pk=run_id)
    interventions.pause(found, by=request.actor, **reason_and_request_id(request.POST))
    return _steered(request, found)


@require_POST
def resumption(request: PersonRequest, run_id: UUID) -> HttpResponse:
    """Let a paused run go on."""
    found = get_object_or_404(Run.objects.visible_to(request.actor), pk=run_id)
    interventions.resume(found, by=request.actor, **reason_and_request_id(request.POST))
    return _steered(request, found)


@require_POST
def cancellation(request: PersonRequest, run_id: UUID) -> HttpResponse:
    """End a run."""
    found = get_object_or_404(Run.objects.visible_to(request.actor), pk=run_id)
    interventions.cancel(found, by=request.actor, **reason_and_request_id(request.POST))
    return _steered(request, found)


@require_POST
def pin(request: PersonRequest, run_id: UUID) -> HttpResponse:
    """Say with what a run goes on: its own release, or the live one."""
    found = get_object_or_404(Run.objects.visible_to(request.actor), pk=run_id)
    pinning.pin(found, to=request.POST.get("to", ""), by=request.actor, **reason_and_request_id(request.POST))
    return _steered(request, found)


@require_POST
def stop(request: PersonRequest, run_id: UUID, seq: int) -> HttpResponse:
    """Stop an act that was announced."""
    found = get_object_or_404(Run.objects.visible_to(request.actor).select_related("agent", "team"), pk=run_id)
    windows.stop(found, seq, by=request.actor, **reason_and_request_id(request.POST))
    if not request.htmx:
        return redirect("agents:run", run_id=found.pk)
    return trigger_client_event(HttpResponse(), "toast", {"hue": "ok", "text": "Stopped: it does not happen."})


def _steered(request: PersonRequest, steered: Run) -> HttpResponse:
    """The controls as they are now, or the page again without script."""
    if not request.htmx:
        return redirect("agents:run", run_id=steered.pk)
    found = get_object_or_404(_shown(request), pk=steered.pk)
    answer = render(request, FRAGMENTS["controls"], page.of(found, request.actor, request.GET, part="controls"))
    return trigger_client_event(answer, "toast", {"hue": "ok", "text": page.told(found)})
