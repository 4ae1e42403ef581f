"""What the page of one run shows, gathered in a bounded number of queries whatever the length of the run.

Apart from the views because five fragments of the page, renewed one by one while it runs, take their values from here.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.db.models import Max, Min, Q
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html

from agents.models import Permission, Run, Step, StepPayload, User
from agents.runs import compensating, fallbacks, fleet, overridden, pinning, story, timelines
from agents.runs.programs.recorded import PROVIDER as RECORDED

VIEWS = {"story": "Story", "tree": "Tree", "timeline": "Timeline", "messages": "Messages"}
LONGEST = 20_000
"""Characters of one argument or result on the page; the API has it whole."""
BILLED = {
    "priced": "at list price",
    "estimated": "estimated: nobody told what was used",
    "recorded": "as recorded",
    "unpriced": "no price is known for this model",
    "cached": "answered before: nobody was called",
}
TO = '<input type="hidden" name="to" value="{}">'
TROUBLE = (Q(answer__isnull=False) & ~Q(kind=Step.Kind.DELEGATE)) | Q(
    state__in=[Step.State.FAILED, Step.State.REFUSED, Step.State.HELD, Step.State.IN_DOUBT, Step.State.CANCELLED]
)


def of(run: Run, actor: User, asked: Mapping[str, str], *, part: str = "") -> dict[str, Any]:
    """Values for the page, or for one `part` of it. `asked` is its address: view, step, from, open, idle."""
    values = {"run": run, **permissions(run, actor)}
    if part in ("", "controls", "standing"):
        values["control"] = run.controls.select_related("by").order_by("-asked_at").first()
    if part in ("", "standing", "reading", "story"):
        # The row of a run that is driven says it a moment late.
        values["done"] = run.steps_done if run.is_ended else run.steps.filter(finished_at__isnull=False).count()
    if part in ("", "controls") and values["may_steer"]:
        values |= {"move": pinning.offer(run), "to_old": format_html(TO, "old"), "to_new": format_html(TO, "new")}
    if part in ("", "standing"):
        values |= {"overridden": overridden.rows(run), **standing(run)}
    if part in ("", "reading", "story", "step"):
        values |= reading(run, asked)
    return values


def permissions(run: Run, actor: User) -> dict[str, Any]:
    """Which controls work, and why the others do not."""
    may = actor.may(Permission.STEER, run.team_id)
    return {
        "may_steer": may,
        "may_stop": may or actor.may(Permission.DECIDE, run.team_id),
        "why_not": "" if may else f"Steering takes the role operator in {run.team}.",
        "overrides_url": reverse("agents:run-overrides", args=[run.pk]),
        **overridden.may(run, actor),
        "may_repeat": actor.may(Permission.START, run.team_id)
        and not is_recorded(run)
        and run.queue != Run.Queue.OUTSIDE,
    }


def is_recorded(run: Run) -> bool:
    """Whether it follows a recording: nobody can ask for another one like it."""
    return any(model.get("provider") == RECORDED for model in run.chain or ())  # type: ignore[attr-defined]  # annotated


def told(run: Run) -> str:
    """What has come of an act, in a few words."""
    if run.asked == Run.Asked.PAUSE:
        return "Pause asked: it stops before its next step."
    if run.asked == Run.Asked.CANCEL:
        return "Cancel asked: what is in flight is being aborted."
    if run.ending and not run.is_ended:
        return f"It takes its acts back and then ends {run.ending['state']}."
    return f"This run is {run.get_state_display().lower()}."


def standing(run: Run) -> dict[str, Any]:
    """Evidence for how it stands: who drives it and whether they are alive, what it is at, which questions are open."""
    steps = [] if run.is_ended else list(run.steps.exclude(state__in=Step.CLOSED).order_by("seq"))
    at_it = (step for step in steps if step.state == Step.State.INTENDED and run.state in Run.DRIVEN)
    lease = run.lease_until if run.state in Run.DRIVEN else None
    return {
        "at_it": next(at_it, None),
        "again": next((step for step in steps if step.due_at), None),
        "since": since(run) if run.waits == Run.Waits.CAPACITY else run.changed_at,
        "questions": sum(step.state in {Step.State.HELD, Step.State.IN_DOUBT} for step in steps),
        "is_lost": lease is not None and lease < timezone.now(),
        "tally": compensating.tally(run) if run.ending else None,
        "nobody_works": run.state == Run.State.QUEUED
        and not any(sign.is_alive and sign.worker.kind == "worker" for sign in fleet.workers()),
        "outcome": run.result if isinstance(run.result, str) else None,
        "outcome_raw": pretty(run.result) if run.result is not None and not isinstance(run.result, str) else "",
    }


def since(run: Run) -> datetime | None:
    """Since when it waits; None where it does not."""
    found: datetime | None = Run.objects.filter(pk=run.pk).values_list(fleet.WAITING_SINCE, flat=True).get()
    return found


def reading(run: Run, asked: Mapping[str, str]) -> dict[str, Any]:
    """The story (or tree, timeline, messages) and the step that is looked at."""
    wanted = _number(asked.get("step"))
    shown = story.window(run, around=_number(asked.get("from")), showing=wanted)
    chosen = _chosen(run, shown, wanted)
    view = asked.get("view", "story")
    view = view if view in VIEWS else "story"
    now = timezone.now()
    kept = {name: asked[name] for name in ("from", "open", "idle") if asked.get(name)}
    return {
        "view": view,
        "step_at": f"?{urlencode({'view': view, **kept, 'step': ''})}",
        "views": VIEWS.items(),
        "shown": shown,
        "is_whole": shown.earlier is None and shown.later is None,
        "segments": timelines.segments(run, shown.steps),
        "now": now,
        **_as(view, run, shown, asked, now),
        **_step(run, chosen, shown),
    }


def _as(view: str, run: Run, shown: story.Window, asked: Mapping[str, str], now: Any) -> dict[str, Any]:
    """What one way of reading needs."""
    if view == "tree":
        return {"branches": timelines.branches(shown, delegated(run, shown))}
    if view == "timeline":
        hides = asked.get("idle") == "hide"
        return {"timeline": timelines.timeline(run, shown.steps, now=now, hides_idle=hides), "hides_idle": hides}
    if view == "messages":
        return {"said": conversation(shown)}
    wanted = {_number(asked.get("step")), *map(_number, asked.get("open", "").split(","))}
    return {"lines": story.tell(run, shown, opened=frozenset(filter(None, wanted)))}


def delegated(run: Run, shown: story.Window) -> dict[int, Run]:
    """The runs that the steps of a window delegated, by step."""
    if all(step.kind != Step.Kind.DELEGATE for step in shown.steps):
        return {}
    children = run.children.filter(parent_seq__range=(shown.first, shown.last)).select_related("agent")
    return {child.parent_seq: child for child in children if child.parent_seq is not None}


def _step(run: Run, step: Step | None, shown: story.Window) -> dict[str, Any]:
    """The panel of one step."""
    if step is None:
        return {"step": None}
    payload = shown.payloads.get(step.seq) or run.payloads.filter(seq=step.seq).first()
    return {
        "step": step,
        "payload": payload,
        "tries": list(run.attempts.filter(seq=step.seq).order_by("number")) if step.attempt > 1 or step.due_at else [],
        "before_it": fallbacks.of(payload),
        "degraded": fallbacks.degraded(payload),
        "is_malformed": bool(payload and isinstance(payload.input, dict) and payload.input.get("malformed")),
        "given": pretty(_arguments(payload.input)) if payload and payload.input else "",
        "returned": pretty(payload.output) if payload and payload.output is not None else "",
        "turn": turn(payload) if step.kind == Step.Kind.MODEL and payload else [],
        "in_force": pretty(step.in_force) if step.in_force else "",
        "overridden_then": overridden.of_step(step),
        "asks_people": is_asked(step),
        "child": run.children.select_related("agent").filter(parent_seq=step.seq).first()
        if step.kind == Step.Kind.DELEGATE
        else None,
        "touches": list(run.touches.filter(seq=step.seq)) if step.writes else [],
        "taken_back": run.steps.filter(compensates=step.seq).first() if step.writes and run.ending else None,
        "seconds": story.taken(step),
        "billed": BILLED.get(step.cost_kind, ""),
        **_beside(run, step),
    }


def is_asked(step: Step) -> bool:
    """Whether a person was asked about a step, or is now; a delegated run answers without anybody, and an act that is
    only announced asks nobody."""
    is_answered = bool(step.answer and step.answer.get("approval_id"))
    return is_answered or (step.state in {Step.State.HELD, Step.State.IN_DOUBT} and not step.is_announced)


def _beside(run: Run, step: Step) -> dict[str, int | None]:
    """The steps one key away: before, behind, and the next one that went wrong or waited for a person."""
    found: dict[str, int | None] = run.steps.aggregate(
        before=Max("seq", filter=Q(seq__lt=step.seq)),
        behind=Min("seq", filter=Q(seq__gt=step.seq)),
        next_trouble=Min("seq", filter=TROUBLE & Q(seq__gt=step.seq)),
        first_trouble=Min("seq", filter=TROUBLE & Q(seq__lt=step.seq)),
    )
    return {**found, "trouble": found["next_trouble"] or found["first_trouble"]}


def _chosen(run: Run, shown: story.Window, seq: int | None) -> Step | None:
    """The step to look at: the one asked for, else what is open, else the last."""
    by_seq = {step.seq: step for step in shown.steps}
    if seq is not None:
        found: Step | None = by_seq.get(seq) or run.steps.filter(seq=seq).first()
        return found
    open_steps = [step for step in shown.steps if step.state not in Step.CLOSED]
    return open_steps[0] if open_steps else shown.steps[-1] if shown.steps else None


def conversation(shown: story.Window) -> list[dict[str, Any]]:
    """The messages of a window, in order: what models were told, what they answered, and at which step."""
    said = []
    for payload in shown.payloads.values():
        said += [{"seq": payload.seq, **message} for message in turn(payload)]
    return said


def turn(payload: StepPayload) -> list[dict[str, Any]]:
    """What a model was newly told in one step, and what it answered."""
    given = payload.input.get("messages", ()) if isinstance(payload.input, dict) else ()
    answer = story.message_of(payload)
    return [_readable(message) for message in [*given, *([answer] if answer else [])]]


def _readable(message: dict[str, Any]) -> dict[str, Any]:
    """A message with its parts as words, calls and results a person can read."""
    parts = []
    for part in message.get("parts", ()):
        kind = part.get("type")
        if kind == "tool_call":
            parts.append({"kind": "call", "name": part.get("name", "a tool"), "raw": pretty(part.get("arguments"))})
        elif kind == "tool_call_response":
            parts.append({"kind": "result", "name": part.get("name", ""), "raw": pretty(part.get("response"))})
        elif words := story.text(part):
            parts.append({"kind": "thought" if kind == "reasoning" else "words", "words": cut_off(words)})
    return {"role": message.get("role", ""), "parts": parts}


def pretty(value: Any) -> str:
    """A value as text a person can read: words stay words, JSON is laid out, also where it came as text."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            value = json.loads(value)
        except ValueError:
            return cut_off(value)
    return cut_off(value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False))


def cut_off(text: str) -> str:
    """At most so much of it."""
    if len(text) <= LONGEST:
        return text
    return f"{text[:LONGEST]}\n… {len(text) - LONGEST:,} characters more; the API gives the whole of it."


def _arguments(given: Any) -> Any:
    """What a tool was given, without the wrapping; a malformed call as it was sent."""
    if isinstance(given, dict) and set(given) & {"arguments", "malformed"}:
        return given.get("malformed") or given.get("arguments")
    return given


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) < 9 else None
