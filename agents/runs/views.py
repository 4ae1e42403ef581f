"""The pages of runs: the list, one run with its story and controls, and starting another."""

import json
from typing import Any
from uuid import UUID, uuid4

from django import forms
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from agents import errors
from agents.keyset import cut
from agents.models import Agent, Permission, Run, Step, User
from agents.runs import finding, interventions, starting, story

ROWS = 50
PARTS = {
    "controls": "agents/run.html#controls",
    "notices": "agents/run.html#notices",
    "story": "agents/run_story.html",
    "step": "agents/run_step.html",
}


class Request(HttpRequest):
    """A request of somebody signed in."""

    actor: User


@require_safe
def runs(request: Request) -> HttpResponse:
    """Runs, newest first, filtered by the query bar; the query lives in the address."""
    text = request.GET.get("q", "").strip()
    problem = ""
    shown: QuerySet[Run] = Run.objects.visible_to(request.actor).select_related("agent", "release", "started_by")
    try:
        page = cut(finding.find(shown, text), key="-id", limit=ROWS, cursor=request.GET.get("cursor", ""))
    except errors.Invalid as error:
        problem, page = error.message, cut(shown.none(), key="-id", limit=1)
    context = {
        "runs": page.rows,
        "next_cursor": page.next_cursor,
        "q": text,
        "problem": problem,
        "views": [(name, query, text == query) for name, query in finding.VIEWS.values()],
        "agents": Agent.objects.visible_to(request.actor).values_list("slug", flat=True),
        "states": Run.State.values,
        "may_start": request.actor.may_somewhere(Permission.START),
    }
    template = "agents/runs.html#list" if request.GET.get("part") == "list" else "agents/runs.html"
    return render(request, template, context)


@require_safe
def run(request: Request, run_id: UUID) -> HttpResponse:
    """One run: what it is doing, why, who approved, what it cost. `part` asks for one fragment of it."""
    found = get_object_or_404(_shown(request), pk=run_id)
    template = PARTS.get(request.GET.get("part", ""), "agents/run.html")
    return render(request, template, _page(request, found))


def _shown(request: Request) -> QuerySet[Run]:
    return Run.objects.visible_to(request.actor).select_related("agent", "release", "started_by", "team")


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() and len(text) < 9 else None


def _page(request: Request, found: Run) -> dict[str, Any]:
    """Everything the page shows; bounded queries whatever the length of the run."""
    shown = story.window(found, around=_number(request.GET.get("from")))
    chosen = _chosen(found, shown, _number(request.GET.get("step")))
    view = request.GET.get("view", "story")
    payload = shown.payloads.get(chosen.seq) if chosen else None
    if chosen and payload is None:
        payload = found.payloads.filter(seq=chosen.seq).first()
    return {
        "run": found,
        "view": view if view in {"story", "tree", "messages"} else "story",
        "shown": shown,
        "lines": story.tell(found, shown),
        "branches": story.branches(shown.steps),
        "segments": story.segments(found, shown.steps),
        "now": timezone.now(),
        "step": chosen,
        "payload": payload,
        "asks_people": bool(chosen and (chosen.answer or chosen.state in {Step.State.HELD, Step.State.IN_DOUBT})),
        "given": pretty(_arguments(payload.input)) if payload else "",
        "returned": pretty(payload.output) if payload else "",
        "in_force": pretty(chosen.in_force) if chosen else "",
        "views": [("story", "Story"), ("tree", "Tree"), ("messages", "Messages")],
        "messages_said": list(story.conversation(shown)) if view == "messages" else [],
        "touches": list(found.touches.filter(seq=chosen.seq)) if chosen and chosen.writes else [],
        "seconds": story.taken(chosen) if chosen else None,
        "control": found.controls.select_related("by").order_by("-asked_at").first(),
        **_permissions(request.actor, found),
    }


def pretty(value: Any) -> str:
    """A value as text a person can read; words stay words."""
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)


def _arguments(given: Any) -> Any:
    """What a tool was given, without the wrapping; a malformed call as it was sent."""
    if isinstance(given, dict) and set(given) & {"arguments", "malformed"}:
        return given.get("malformed") or given.get("arguments")
    return given


def _chosen(found: Run, shown: story.Window, seq: int | None) -> Step | None:
    """The step to look at: the one asked for, else what is open, else the last."""
    by_seq = {step.seq: step for step in shown.steps}
    if seq is not None:
        return by_seq.get(seq) or found.steps.filter(seq=seq).first()
    open_steps = [step for step in shown.steps if step.state not in Step.CLOSED]
    return open_steps[0] if open_steps else shown.steps[-1] if shown.steps else None


def _permissions(actor: User, found: Run) -> dict[str, Any]:
    """Which controls work, and why the others do not."""
    may = actor.may(Permission.STEER, found.team_id)
    why = "" if may else f"Steering takes the role operator in {found.team}."
    if found.is_ended:
        why = f"This run is {found.state}; nothing more will happen to it."
    return {"may_steer": may and not found.is_ended, "why_not": why}


@require_POST
def pause(request: Request, run_id: UUID) -> HttpResponse:
    """Ask a run to stop before its next step."""
    found = get_object_or_404(Run.objects.visible_to(request.actor), pk=run_id)
    interventions.pause(found, by=request.actor, **steering(request))
    return _steered(request, found)


@require_POST
def resumption(request: Request, run_id: UUID) -> HttpResponse:
    """Let a paused run go on."""
    found = get_object_or_404(Run.objects.visible_to(request.actor), pk=run_id)
    interventions.resume(found, by=request.actor, **steering(request))
    return _steered(request, found)


@require_POST
def cancellation(request: Request, run_id: UUID) -> HttpResponse:
    """End a run."""
    found = get_object_or_404(Run.objects.visible_to(request.actor), pk=run_id)
    interventions.cancel(found, by=request.actor, **steering(request))
    return _steered(request, found)


def steering(request: HttpRequest) -> dict[str, Any]:
    """The reason and the request id a form sends; a press without an id is an act of its own."""
    try:
        request_id = UUID(request.POST.get("request_id") or str(uuid4()))
    except ValueError as error:
        raise errors.Invalid("The form's request id is not a UUID; reload the page.", field="request_id") from error
    return {"reason": request.POST.get("reason", ""), "request_id": request_id}


def _steered(request: Request, found: Run) -> HttpResponse:
    """The controls as they are now, or the page again without script."""
    if not getattr(request, "htmx", False):
        return redirect("agents:run", run_id=found.pk)
    return render(request, "agents/run.html#controls", _page(request, get_object_or_404(_shown(request), pk=found.pk)))


class NewRunForm(forms.Form):
    """What a run is to achieve and who is to do it."""

    agent = forms.ModelChoiceField(Agent.objects.none(), to_field_name="slug", empty_label=None)
    objective = forms.CharField(
        widget=forms.Textarea(attrs={"rows": 3}), help_text="In a sentence, as you would tell a colleague."
    )
    input = forms.JSONField(
        required=False, widget=forms.Textarea(attrs={"rows": 3}), help_text='Optional facts as JSON, {"order": "4711"}.'
    )

    def __init__(self, *args: Any, actor: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        mine = Agent.objects.within(actor, Permission.START).filter(release__isnull=False)
        self.fields["agent"].queryset = mine.order_by("slug")  # type: ignore[attr-defined]

    def clean_input(self) -> dict[str, Any]:
        """A JSON object, or nothing."""
        given = self.cleaned_data["input"] or {}
        if not isinstance(given, dict):
            raise forms.ValidationError('Facts have names: write {"order": "4711"}.')
        return given


def new_run(request: Request) -> HttpResponse:
    """Start a run; `?like=` takes over what another was asked."""
    if not request.actor.may_somewhere(Permission.START):
        raise errors.Forbidden("Starting runs takes the role operator in a team.")
    form = NewRunForm(request.POST or None, actor=request.actor, initial=_like(request))
    if request.method == "POST" and form.is_valid():
        wanted = form.cleaned_data
        started = starting.start(
            wanted["agent"],
            objective=wanted["objective"],
            input=wanted["input"],
            by=request.actor,
            request_id=steering(request)["request_id"],
        )
        return redirect("agents:run", run_id=started.pk)
    status = 422 if form.errors else 200
    return render(request, "agents/run_new.html", {"form": form}, status=status)


def _like(request: Request) -> dict[str, Any]:
    """The agent, objective and facts of another run, to be edited."""
    like = request.GET.get("like", "")
    try:
        other = Run.objects.visible_to(request.actor).select_related("agent").filter(pk=UUID(like)).first()
    except ValueError:
        other = None
    if other is None:
        return {"agent": request.GET.get("agent", "")}
    given = {key: value for key, value in other.input.items() if key != "recording"}
    return {"agent": other.agent.slug, "objective": other.objective, "input": json.dumps(given) if given else ""}
