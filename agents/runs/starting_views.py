"""The page that starts a run: which agent, what for, with which facts; beside it what that agent is and may do.

Agents of the workspace that nobody has published yet are on offer too: as drafts, in the sandbox.
"""

import json
from pathlib import Path
from typing import Any
from uuid import UUID

from django import forms
from django.http import HttpResponse
from django.shortcuts import redirect, render

from agents import errors
from agents.models import Agent, Permission, Release, Run, User
from agents.pages import PersonRequest, request_id
from agents.registry import bundles, publishing, workspace
from agents.runs import starting
from agents.runs.agent_views import escalates, granted
from agents.runs.programs.recorded import PROVIDER as RECORDED
from agents.runs.views import fragment

DRAFT = "draft:"


class NewRunForm(forms.Form):
    """What a run is to achieve and who is to do it."""

    agent = forms.ChoiceField()
    objective = forms.CharField(
        widget=forms.Textarea(attrs={"rows": 3, "maxlength": 20_000, "placeholder": "Answer ticket 882"}),
        help_text="In a sentence, as you would tell a colleague.",
    )
    input = forms.CharField(
        required=False,
        label="Facts (optional)",
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false", "placeholder": '{"order": 4711}'}),
        help_text="As JSON, with a name for each: what a pipeline fills in, and what a model is told besides.",
    )

    def __init__(self, *args: Any, actor: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.groups = offered(actor)
        self.fields["agent"].choices = self.groups  # type: ignore[attr-defined]  # a ChoiceField has them

    def clean_input(self) -> dict[str, Any]:
        """A JSON object, or nothing."""
        text = self.cleaned_data["input"].strip()
        try:
            given = json.loads(text) if text else {}
        except ValueError as error:
            raise forms.ValidationError(f'This is not JSON ({error}). Write {{"order": 4711}}.') from error
        if not isinstance(given, dict):
            raise forms.ValidationError('Facts have names: write {"order": 4711}.')
        return given


def offered(actor: User) -> list[tuple[str, list[tuple[str, str]]]]:
    """Agents this person may start, in groups: live ones first, then drafts of the workspace."""
    mine = Agent.objects.within(actor, Permission.START).filter(release__isnull=False)
    # What follows a recording can do nothing but follow it.
    able = mine.exclude(release__bundle__models__contains=[{"provider": RECORDED}]).order_by("slug")
    live = [(slug, slug) for slug in able.values_list("slug", flat=True)]
    drafts = [(f"{DRAFT}{file.stem}", f"{file.stem}, as its file is now") for file in drafted()]
    groups = [("Live releases", live), ("From the workspace, in the sandbox", drafts)]
    return [(name, options) for name, options in groups if options]


def drafted() -> list[Path]:
    """The agents that lie in the workspace as files."""
    folder = workspace.folder()
    return sorted((folder / "agents").glob("*.toml")) if folder else []


def new_run(request: PersonRequest) -> HttpResponse:
    """Start a run; `?like=` takes over what another was asked, `?agent=` who is to do it."""
    if not request.actor.may_somewhere(Permission.START):
        raise errors.Forbidden("Starting runs takes the role operator in a team.")
    form = NewRunForm(request.POST or None, actor=request.actor, initial=_like(request))
    if request.method == "POST" and form.is_valid():
        started = _start(request, form.cleaned_data)
        return redirect("agents:run", run_id=started.pk)
    wanted = request.POST.get("agent") or form.initial.get("agent")
    offers = [value for _, options in form.groups for value, _ in options]
    chosen = wanted if wanted in offers else offers[0] if offers else ""
    context = {"form": form, "groups": form.groups, "chosen": chosen, **about(request.actor, chosen)}
    status = 422 if form.errors else 200
    return render(request, fragment(request, "agents/run_new.html", "about"), context, status=status)


def _start(request: PersonRequest, wanted: dict[str, Any]) -> Run:
    name, release = wanted["agent"], None
    if name.startswith(DRAFT):
        release = _draft(name.removeprefix(DRAFT), by=request.actor)
    agent = release.agent if release else Agent.objects.within(request.actor, Permission.START).get(slug=name)
    return starting.start(
        agent,
        objective=wanted["objective"],
        input=wanted["input"],
        by=request.actor,
        request_id=request_id(request.POST),
        release=release,
    )


def _draft(name: str, *, by: User) -> Release:
    """The workspace's file as it is now."""
    file = next(file for file in drafted() if file.stem == name)  # the form offers no others
    return publishing.draft(bundles.read(file), by=by)


def about(actor: User, name: str) -> dict[str, Any]:
    """What somebody should know of an agent before starting it."""
    if name.startswith(DRAFT):
        return {"draft": name.removeprefix(DRAFT), "agent": None}
    agent = Agent.objects.visible_to(actor).select_related("team", "release", "frozen_by").filter(slug=name).first()
    if agent is None:
        return {"agent": None}
    last = Run.objects.filter(agent=agent).order_by("-id").first()
    return {"agent": agent, "tools": granted(agent), "sentence": escalates(agent), "last": last}


def _like(request: PersonRequest) -> dict[str, Any]:
    """The agent, objective and facts of another run, to be edited."""
    like = request.GET.get("like", "")
    try:
        other = Run.objects.visible_to(request.actor).select_related("agent").filter(pk=UUID(like)).first()
    except ValueError:
        other = None
    if other is None:
        return {"agent": request.GET.get("agent", "")}
    given = {key: value for key, value in other.input.items() if key != "recording"}
    facts = json.dumps(given, indent=1, ensure_ascii=False) if given else ""
    return {"agent": other.agent.slug, "objective": other.objective, "input": facts}
