"""Taking acts back: what a run did that can be undone, what undoing it needs, and the turn a run takes towards it.

A run that fails or is cancelled after acting does not end at once. `Run.ending` keeps how it is to end; until then it
goes on, in state `compensating`, and takes its acts back, the last one first, each as a step of its own with its own
key. The driver that does it is in `unwinding.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from django.db.models import Count, Q
from django.utils import timezone

from agents import errors, signals
from agents.audit import log as audit
from agents.contracts import Event, Json, UseTool
from agents.models import Agent, Control, Run, Step, StepAttempt
from agents.runs import hotpath, performing, planning
from agents.runs.lease import Claim
from agents.runs.steps import Planned
from agents.tools import catalogue, invocation
from agents.tools.catalogue import ToolSpec


@dataclass(frozen=True, slots=True)
class Tally:
    """How many acts were taken back, and how many stand because a person left them."""

    taken_back: int
    left: int

    def __str__(self) -> str:
        taken = f"{self.taken_back} act{'s' * (self.taken_back != 1)} taken back"
        return f"{taken}, {self.left} left as {'it is' if self.left == 1 else 'they are'}" if self.left else taken


def way_back(bundle: Json, tool: str) -> str:
    """The tool that takes back what this one did, as the release was published; empty when there is none."""
    published = bundle.get("tool_schemas", {}).get(tool)
    if published is not None:
        return str(published.get("compensation") or "")
    try:
        return catalogue.get(tool).compensation
    except errors.Missing:
        return ""


def owed(run: Run) -> list[Step]:
    """The acts that nobody has taken back yet, the last one first."""
    taken = run.steps.filter(compensates__isnull=False).values("compensates")
    return _with_way_back(run, Q(state=Step.State.DONE) & ~Q(seq__in=taken))


def doubtful(run: Run) -> list[Step]:
    """The acts of which nobody knows whether they happened: that is asked before anything is taken back."""
    unknown = _with_way_back(run, Q(state__in=[Step.State.INTENDED, Step.State.IN_DOUBT]))
    return [step for step in unknown if may_have_happened(step)]


def may_have_happened(step: Step) -> bool:
    """Whether an open step may have acted. One that is to be tried again has not, if every try of it is known to have
    come to nothing: a driver may have died, or an answer may have been lost, before the last one."""
    if not step.writes or step.state == Step.State.HELD:
        return False
    if step.due_at is None:
        return True
    tries = StepAttempt.objects.filter(run_id=step.run_id, seq=step.seq)
    return tries.exclude(error_class__in=performing.UNCLEAR).count() < step.attempt


def _with_way_back(run: Run, which: Q) -> list[Step]:
    """Steps that really act outside, and whose tool names a compensation."""
    bundle = run.release.bundle
    if run.environment == Agent.Environment.SANDBOX or "recording" in run.input or bundle.get("compensate") is False:
        return []
    acted = run.steps.filter(which, kind=Step.Kind.TOOL, writes=True, simulated=False, compensates=None)
    return [step for step in acted.order_by("-seq") if way_back(bundle, step.name)]


def tally(run: Run) -> Tally:
    """What came of taking back, so far."""
    closed = run.steps.filter(compensates__isnull=False, state__in=Step.CLOSED).aggregate(
        taken=Count("seq", filter=Q(state=Step.State.DONE)), left=Count("seq", filter=~Q(state=Step.State.DONE))
    )
    return Tally(closed["taken"], closed["left"])


def begin(run: Run, *, ending: Json, steps_done: int) -> None:
    """Keep how the run is to end and queue it anew, to take its acts back. Call in a transaction that locks the run.

    A cancel counts as obeyed with this; a pause still stands.
    """
    asked = Run.Asked.PAUSE if run.asked == Run.Asked.PAUSE else Run.Asked.NOTHING
    if not asked:
        Control.objects.filter(run=run, obeyed_at=None).update(obeyed_at=timezone.now())
    waiting = {"waiting_for": "", "waits": "", "wake_at": None, "question": None}
    driving = {"lease_until": None, "lease_holder": "", "deaths": 0, "rings": 0, "rung_at": None}
    run.move(to=Run.State.QUEUED, ending=ending, asked=asked, steps_done=steps_done, **waiting, **driving)
    audit.record("run.compensating", about=run, by=None, reason=ending["failure"], ends=ending["state"])
    signals.run_ready.send(Run, run_id=run.pk, queue=run.queue)
    signals.run_changed.send(Run, run_id=run.pk, agent_id=run.agent_id, state=run.state)


def plan(claim: Claim, act: Step, *, seq: int, stored: bool = False, attempt: int = 1) -> tuple[Planned, str]:
    """The step that takes an act back; with a sentence that says why it cannot be tried, if it cannot."""
    name, bundle = way_back(claim.release.bundle, act.name), claim.release.bundle
    try:
        spec = catalogue.get(name)
    except errors.Missing as error:
        return _planned(claim, act, UseTool(name, {}), None, seq, stored, attempt), error.message
    given = arguments(spec.schema, claim.history[act.seq])
    planned = _planned(claim, act, UseTool(name, given), spec, seq, stored, attempt)
    try:
        fitting = hotpath.clean(invocation.validate(spec, given))
        action = replace(planned.action, arguments=fitting, tier=bundle.get("tiers", {}).get(name, spec.tier))
        return replace(planned, action=planning.described(action, spec)), ""
    except (errors.Invalid, errors.OutsideError) as error:
        return planned, f"{act.name} cannot be taken back with what is known of it: {error}"


def _planned(
    claim: Claim, act: Step, ask: UseTool, spec: ToolSpec | None, seq: int, stored: bool, attempt: int
) -> Planned:
    """The step as far as it is known without its tool."""
    tier = spec.tier if spec else act.tier or planning.UNKNOWN_TIER
    action = planning.act(claim, seq, "tool", ask.name, hotpath.clean(ask.arguments), tier=tier, writes=True)
    action = replace(action, says=f"Take back: {act.says or act.name}", compensates=act.seq)
    return Planned(seq, seq, ask, action, spec, attempt, stored, act.seq)


def arguments(schema: Mapping[str, Any], act: Event) -> Json:
    """What a compensation is given: by the name of each parameter from the act's result first, then its arguments."""
    given = act.input.get("arguments") if isinstance(act.input, dict) else None
    known = {**(given or {}), **(act.output if isinstance(act.output, dict) else {})}
    return {name: known[name] for name in schema.get("properties", ()) if name in known}


def too_late(claim: Claim, act: Step) -> str:
    """Why an act can no longer be taken back in time; empty while it can."""
    published = claim.release.bundle.get("tool_schemas", {}).get(act.name)
    if published is not None:
        seconds = published.get("undoable_for_s")
        span = timedelta(seconds=seconds) if seconds else None
    else:
        span = catalogue.get(act.name).undoable_for
    at = act.started_at or act.finished_at
    if span is None or at is None or timezone.now() < at + span:
        return ""
    return f"{act.name} could be taken back until {at + span:%Y-%m-%d %H:%M} UTC; that has passed."
