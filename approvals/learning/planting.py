"""Planted requests: wrong ones that governance makes up, so that it shows who reads before they agree.

A plant is a run of its own with a held step and the question about it, opened through the same door as any other; no
driver ever has that run. Answered, it reveals itself in the transaction of the answer: the run ends, the question says
what it was, and what was let through is marked as not carried out, so that the proof at dispatch refuses it too.

It stands in groups and can be decided in bulk as what it is like: set apart, it would be known by that. Let through
there, it was missed, since a wrong request among right ones would have been done; rejected there together with others,
it was not told from them, which says nothing about whoever did it.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from agents import errors, signals
from agents.audit import log as audit
from agents.contracts import Action, Confidence, Json, Source, Stance, Verdict
from agents.models import Permission, Run, Step, StepPayload, User
from agents.runs import planning
from agents.tools import catalogue, invocation
from approvals import asking
from approvals.learning.models import Plant
from approvals.models import Approval, BulkDecision, BulkItem

STORY = 6
CAUGHT = frozenset({Approval.State.EDITED, Approval.State.REJECTED})


def plant(like: Approval, *, arguments: Json, wrong: str, by: User, request_id: UUID) -> Plant:
    """Ask about an act like an earlier one, with these arguments, in which `wrong` says what a reviewer should notice.
    The same request id is the same plant. `like` needs run, agent and release."""
    if not by.may(Permission.PUBLISH, like.team_id):
        why = f"Planting a request takes the role governance in {like.team}."
        audit.refuse("approval.planted", about=like, by=by, because=why, request_id=request_id)
    if like.kind != Approval.Kind.ACT or like.compensates is not None or like.is_manual:
        raise errors.Conflict("Only a question whether an act may be done can be planted again; choose another one.")
    if not wrong.strip():
        raise errors.Invalid("Say what is wrong with it, which a reviewer should notice.", field="wrong")
    if arguments == like.arguments:
        raise errors.Invalid("These are the arguments it had; change what a reviewer should notice.", field="arguments")
    return _plant(like, _checked(like.tool, arguments), wrong=wrong.strip(), by=by, request_id=request_id)


def _checked(tool: str, arguments: Json) -> Json:
    """As an agent's own are; nobody here knows the schema of a recorded tool."""
    try:
        spec = catalogue.get(tool)
    except errors.Missing:
        return arguments
    checked: Json = invocation.validate(spec, arguments)
    return checked


@transaction.atomic
def _plant(like: Approval, arguments: Json, *, wrong: str, by: User, request_id: UUID) -> Plant:
    if found := Plant.objects.select_related("approval").filter(request_id=request_id).first():
        return found
    action = _action(like, _run(like), arguments)
    _store(like, action)
    asked = asking.open_approval(action, _verdict(like))
    made = Plant.objects.create(approval=asked, by=by, wrong=wrong, request_id=request_id)
    # Of no team, so that reviewers who read the log do not learn of it there before they have answered.
    about = audit.Subject("approval", str(asked.pk), "a planted request")
    audit.record("approval.planted", about=about, by=by, reason=wrong, request_id=request_id, like=str(like.pk))
    return made


def _run(like: Approval) -> Run:
    now = timezone.now()
    fields: dict[str, Any] = {"state": Run.State.WAITING, "waits": Run.Waits.APPROVAL, "waiting_for": "approval"}
    made: Run = Run.objects.create(
        agent=like.agent,
        release=like.release,
        team=like.team,
        objective=like.run.objective,
        environment=like.run.environment,
        started_at=now,
        **fields,
    )
    return made


def _action(like: Approval, run: Run, arguments: Json) -> Action:
    """The act as its tool tells it; of a tool that is not declared here, in the words of the earlier one."""
    plain = Action(
        run_id=run.pk,
        seq=like.seq,
        kind=like.bound.get("kind", "tool"),
        name=like.tool,
        arguments=arguments,
        agent_id=like.agent_id,
        agent=like.agent.slug,
        release_id=like.release_id,
        release=like.release.version,
        team_id=like.team_id,
        environment=run.environment,
        tier=like.tier,
        writes=True,
        confidence=Confidence(like.confidence, Source(like.confidence_source)),
        says=like.says,
        preview=tuple(like.preview),
    )
    try:
        return planning.described(plain, catalogue.get(like.tool))
    except (errors.Missing, errors.OutsideError):
        return replace(plain, preview=())


def _verdict(like: Approval) -> Verdict:
    """The same gates ask for the same."""
    detail = {"level": like.level, "votes": like.votes_needed, "zone": like.zone}
    parts = [
        Verdict(Stance.HOLD, one["gate"], one["reason"], {**detail, "rule": one.get("rule")}) for one in like.reasons
    ]
    return Verdict(Stance.HOLD, parts[0].gate, like.reason, detail, tuple(parts)) if parts else Verdict(Stance.HOLD)


def _store(like: Approval, action: Action) -> None:
    """The held step, and before it what the earlier run had looked at: its tools only, which nobody is billed for."""
    before = Step.objects.filter(run=like.run_id, seq__lt=like.seq, kind=Step.Kind.TOOL, writes=False)
    now, agent = timezone.now(), like.agent_id
    told = [
        Step(run_id=action.run_id, seq=one.seq, turn=one.seq, agent_id=agent, kind=one.kind, name=one.name,
             state=one.state, says=one.says, tier=one.tier, finished_at=now)
        for one in before.order_by("-seq")[:STORY]
    ]  # fmt: skip
    held = Step(run_id=action.run_id, seq=action.seq, turn=action.seq, agent_id=agent, kind=action.kind,
                name=action.name, state=Step.State.HELD, tier=action.tier, says=action.says,
                writes=True, confidence=action.confidence.value,
                confidence_source=action.confidence.source.value)  # fmt: skip
    Step.objects.bulk_create([*told, held])
    StepPayload.objects.create(run_id=action.run_id, seq=action.seq, input={"arguments": action.arguments})


def reveal(approvals: Sequence[Approval]) -> None:
    """Say which of these were planted, now that nobody has to answer them any more. Call in the transaction that closes
    them."""
    candidates = [one for one in approvals if not Approval.plant.is_cached(one) or hasattr(one, "plant")]
    planted = Plant.objects.filter(approval__in=candidates, revealed_at=None)
    if not candidates or not planted.exists():  # nearly always, and the whole of it is wide
        return
    for found in planted.select_related("approval__run"):
        if not found.approval.is_open:
            _reveal(found)


def _reveal(found: Plant) -> None:
    asked, now = found.approval, timezone.now()
    found.caught, found.revealed_at = _was_caught(asked), now
    found.save(update_fields=["caught", "revealed_at"])
    said = f"This request was planted: {found.wrong} Nothing was carried out."
    Approval.objects.filter(pk=asked.pk).update(executed=Approval.Executed.FAILED, closed_because=said)
    Step.objects.filter(run=asked.run_id, seq=asked.seq).update(state=Step.State.CANCELLED, finished_at=now)
    if not asked.run.is_ended:
        asked.run.move(to=Run.State.CANCELLED)
        signals.run_changed.send(Run, run_id=asked.run_id, agent_id=asked.agent_id, state=asked.run.state)
    audit.record("approval.revealed", about=asked, by=None, reason=said, caught=found.caught)


def _was_caught(asked: Approval) -> bool | None:
    """Whether it was noticed; None where that cannot be said."""
    if asked.state not in CAUGHT:
        return False if asked.state in Approval.DECIDED else None
    with_others = BulkItem.objects.filter(approval=asked, bulk__total__gt=1)
    together = asked.decisions.filter(request_id__in=[item.request_id for item in with_others])
    return None if together.exists() else True


def met_in(job: BulkDecision) -> Sequence[Plant]:
    """Those that a job has decided, for whoever asked for it."""
    met = Plant.objects.filter(approval__bulk_items__bulk=job, approval__bulk_items__state=BulkItem.State.DECIDED)
    return list(met.filter(revealed_at__isnull=False).select_related("approval").order_by("approval_id"))
