"""The API's doors to runs: start, watch and steer them, and freeze the agents they belong to.

How runs and steps look from outside is in `shapes.py`; who may do what, and until when, is for the verbs to say.
"""

from typing import Annotated, Any, Literal
from uuid import UUID

from django.db.models import Case, Exists, F, OuterRef, QuerySet, Value, When
from ninja import Query, Router
from uuid_utils.compat import uuid7

from agents import errors
from agents.keyset import cut
from agents.models import Agent, Control, Release, Run, Step, StepPayload, User
from agents.registry.api import Environment, agents_named, visible_agent
from agents.runs import fleet, interventions, pinning, starting, windows
from agents.runs.shapes import (
    ControlOut,
    Queue,
    RunItem,
    RunOut,
    RunState,
    StepKind,
    StepOut,
    StepState,
    earliest_id,
    touches_by_seq,
    tries_by_seq,
)
from agents.wire import ActorRequest, Body, Filters, GivenMoment, MomentFilter, Page, Several, Slugs

runs = Router(tags=["runs"])
freezes = Router(tags=["agents"])


class RunIn(Body):
    """A run to be started."""

    agent: str
    objective: str
    input: dict[str, Any] = {}
    release: str | None = None
    queue: Queue | None = None
    deadline_at: GivenMoment | None = None
    request_id: UUID | None = None


class Asked(Body):
    """Why somebody steps in, and the id under which asking twice is one act."""

    reason: str = ""
    request_id: UUID | None = None

    def as_verb(self) -> dict[str, Any]:
        """What the verbs take; without an id of the caller's each call is an act of its own."""
        return {"reason": self.reason.strip(), "request_id": self.request_id or uuid7()}


class PinIn(Asked):
    """With what a run goes on."""

    to: Literal["old", "new"]

    def as_verb(self) -> dict[str, Any]:
        """What the verb takes."""
        return {"to": self.to, **super().as_verb()}


class RunFilters(Filters):
    """Which runs."""

    state: Annotated[list[RunState], Several] = []
    agent: Slugs = []
    environment: Annotated[list[Environment], Several] = []
    parent: UUID | None = None
    since: MomentFilter = None
    until: MomentFilter = None


class StepFilters(Filters):
    """Which steps, and whether with what went in and came out."""

    state: Annotated[list[StepState], Several] = []
    kind: Annotated[list[StepKind], Several] = []
    payload: bool = True


@runs.post("", response={201: RunOut}, operation_id="start_run", summary="Start a run")
def start_run(request: ActorRequest, body: RunIn) -> RunOut:
    """Queue a run of an agent."""
    agent = visible_agent(request.actor, body.agent, field="agent")
    release = _release(agent, body.release) if body.release else None
    run = starting.start(
        agent,
        objective=body.objective,
        by=request.actor,
        input=body.input,
        queue=body.queue,
        request_id=body.request_id,
        deadline_at=body.deadline_at,
        release=release,
    )
    return _whole(request.actor, run.pk)


@runs.get("", response=Page[RunItem], operation_id="list_runs", summary="The runs you can see, newest first")
def list_runs(request: ActorRequest, filters: Query[RunFilters]) -> Page[RunItem]:
    """Runs of your teams."""
    found = _shown(request.actor).defer("input", "result")
    if filters.state:
        found = found.filter(state__in=filters.state)
    if filters.agent:
        found = found.filter(agent__in=agents_named(request.actor, filters.agent))
    if filters.environment:
        found = found.filter(environment__in=filters.environment)
    if filters.parent:
        found = found.filter(parent=filters.parent)
    if filters.since:
        found = found.filter(pk__gte=earliest_id(filters.since))
    if filters.until:
        found = found.filter(pk__lt=earliest_id(filters.until))
    page = cut(found, key="-id", limit=filters.limit, cursor=filters.cursor)
    return Page(items=[RunItem.of(run) for run in page.rows], next_cursor=page.next_cursor)


@runs.get("/{run_id}", response=RunOut, operation_id="get_run", summary="One run")
def get_run(request: ActorRequest, run_id: UUID) -> RunOut:
    """One run, whole."""
    return _whole(request.actor, run_id)


@runs.get("/{run_id}/steps", response=Page[StepOut], operation_id="list_steps", summary="What a run did, in order")
def list_steps(request: ActorRequest, run_id: UUID, filters: Query[StepFilters]) -> Page[StepOut]:
    """The steps of a run."""
    run = visible_run(request.actor, run_id)
    steps = Step.objects.filter(run=run)
    if filters.state:
        steps = steps.filter(state__in=filters.state)
    if filters.kind:
        steps = steps.filter(kind__in=filters.kind)
    page = cut(steps, key="seq", limit=filters.limit, cursor=filters.cursor)
    return Page(items=_steps(run, page.rows, payload=filters.payload), next_cursor=page.next_cursor)


@runs.post("/{run_id}/pause", response=ControlOut, operation_id="pause_run", summary="Pause a run")
def pause_run(request: ActorRequest, run_id: UUID, body: Asked) -> ControlOut:
    """Stop before the next step."""
    run = visible_run(request.actor, run_id)
    return ControlOut.of(interventions.pause(run, by=request.actor, **body.as_verb()), run=run)


@runs.delete("/{run_id}/pause", response=ControlOut, operation_id="resume_run", summary="Resume a paused run")
def resume_run(request: ActorRequest, run_id: UUID, body: Asked | None = None) -> ControlOut:
    """Go on where it stopped."""
    run = visible_run(request.actor, run_id)
    asked = body or Asked()
    return ControlOut.of(interventions.resume(run, by=request.actor, **asked.as_verb()), run=run)


@runs.post("/{run_id}/cancellation", response=ControlOut, operation_id="cancel_run", summary="Cancel a run for good")
def cancel_run(request: ActorRequest, run_id: UUID, body: Asked) -> ControlOut:
    """End it; a model call in flight is aborted."""
    run = visible_run(request.actor, run_id)
    return ControlOut.of(interventions.cancel(run, by=request.actor, **body.as_verb()), run=run)


@runs.post("/{run_id}/pin", response=ControlOut, operation_id="pin_run", summary="Decide with what a run goes on")
def pin_run(request: ActorRequest, run_id: UUID, body: PinIn) -> ControlOut:
    """Its own release, or the agent's live one."""
    run = visible_run(request.actor, run_id)
    return ControlOut.of(pinning.pin(run, by=request.actor, **body.as_verb()), run=run)


@runs.post(
    "/{run_id}/steps/{seq}/stop", response=ControlOut, operation_id="stop_step", summary="Stop an act that is announced"
)
def stop_step(request: ActorRequest, run_id: UUID, seq: int, body: Asked) -> ControlOut:
    """It does not happen; the agent is told why and goes on."""
    run = visible_run(request.actor, run_id)
    return ControlOut.of(windows.stop(run, seq, by=request.actor, **body.as_verb()), run=run)


@freezes.post("/{slug}/freeze", response=ControlOut, operation_id="freeze_agent", summary="Freeze an agent")
def freeze_agent(request: ActorRequest, slug: str, body: Asked) -> ControlOut:
    """No run of it starts another step."""
    agent = visible_agent(request.actor, slug)
    return ControlOut.of(interventions.freeze(agent, by=request.actor, **body.as_verb()), agent=agent)


@freezes.delete("/{slug}/freeze", response=ControlOut, operation_id="thaw_agent", summary="Thaw a frozen agent")
def thaw_agent(request: ActorRequest, slug: str, body: Asked | None = None) -> ControlOut:
    """Its runs go on where they stood."""
    agent = visible_agent(request.actor, slug)
    asked = body or Asked()
    return ControlOut.of(interventions.thaw(agent, by=request.actor, **asked.as_verb()), agent=agent)


def visible_run(user: User, run_id: UUID) -> Run:
    """The run of that id, or the news that there is none to be seen."""
    run: Run | None = Run.objects.visible_to(user).filter(pk=run_id).first()
    if run is None:
        raise errors.Missing()
    return run


def _release(agent: Agent, version: str) -> Release:
    release: Release | None = agent.releases.filter(version=version).first()
    if release is None:
        raise errors.Invalid(f"`release` is {version!r}; {agent} has no release of that version.", field="release")
    return release


def _shown(user: User) -> QuerySet[Run]:
    """Runs with the names a list shows, the model chain of their release, since when they wait, and whether no model
    told its tokens."""
    asked = Step.objects.filter(run=OuterRef("pk"), kind=Step.Kind.MODEL, state=Step.State.DONE)
    counted_elsewhere = When(tokens_in=0, tokens_out=0, queue=Run.Queue.OUTSIDE, then=Value(True))
    silent = Case(counted_elsewhere, When(tokens_in=0, tokens_out=0, then=Exists(asked)), default=Value(False))
    rows = Run.objects.visible_to(user).select_related("agent", "release", "team", "started_by")
    shown: QuerySet[Run] = rows.defer("release__bundle").annotate(
        chain=F("release__bundle__models"), is_untold=silent, waiting_since=fleet.WAITING_SINCE
    )
    return shown


def _whole(user: User, run_id: UUID) -> RunOut:
    run = _shown(user).filter(pk=run_id).first()
    if run is None:
        raise errors.Missing()
    last = Control.objects.filter(run=run).select_related("by").order_by("-asked_at", "-pk").first()
    return RunOut.whole(run, last=last)


def _steps(run: Run, steps: Any, *, payload: bool) -> list[StepOut]:
    """Steps with what hangs on them, in a few queries however many there are."""
    numbers = [step.seq for step in steps]
    payloads = StepPayload.objects.filter(run=run, seq__in=numbers) if payload else ()
    given = {each.seq: each for each in payloads}
    touched, tried = touches_by_seq(run.pk, numbers), tries_by_seq(run.pk, numbers)
    undone = Step.objects.filter(run=run, state=Step.State.DONE, compensates__in=numbers)
    by = dict(undone.values_list("compensates", "seq")) if run.ending else {}
    return [
        StepOut.of(
            step,
            payload=given.get(step.seq),
            touches=touched.get(step.seq, []),
            tries=tried.get(step.seq, []),
            taken_back_by=by.get(step.seq),
        )
        for step in steps
    ]
