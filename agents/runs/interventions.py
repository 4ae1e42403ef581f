"""What people do to work in flight: pause, resume, cancel a run; freeze and thaw an agent.

A queued or waiting run moves at once; a driven one is asked and obeys before its next step. Asking twice with one
request id is one act.
"""

from datetime import timedelta
from uuid import UUID, uuid5

from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now
from django.utils import timezone

from agents import errors, signals
from agents.audit import log as audit
from agents.models import Agent, Control, Permission, Run, Step, User
from agents.runs import delegating, elsewhere
from agents.runs.ending import CANCELLED, close_open_steps, take_back
from agents.runs.keeper import publish_cancel


def pause(run: Run, *, by: User, reason: str, request_id: UUID) -> Control:
    """Stop before the next step and stay so until resumed; open questions stay open."""
    _require(Permission.STEER, run, Control.Verb.PAUSE, by=by, request_id=request_id)
    return _steer(run, Control.Verb.PAUSE, by=by, reason=reason, request_id=request_id)


def resume(run: Run, *, by: User, reason: str = "", request_id: UUID) -> Control:
    """Queue a paused run again; a pause that was not obeyed yet is withdrawn."""
    _require(Permission.STEER, run, Control.Verb.RESUME, by=by, request_id=request_id)
    return _steer(run, Control.Verb.RESUME, by=by, reason=reason, request_id=request_id)


def cancel(run: Run, *, by: User, reason: str, request_id: UUID) -> Control:
    """End the run for good; a model call in flight is aborted. What was done is taken back first, where it can be."""
    _require(Permission.STEER, run, Control.Verb.CANCEL, by=by, request_id=request_id)
    return _steer(run, Control.Verb.CANCEL, by=by, reason=reason, request_id=request_id)


@transaction.atomic
def _steer(run: Run, verb: Control.Verb, *, by: User, reason: str, request_id: UUID) -> Control:
    if not reason.strip() and verb != Control.Verb.RESUME:
        raise errors.Invalid(f"Say why you {verb} this run; the next person will ask.", field="reason")
    locked = Run.objects.select_for_update(of=("self",)).get(pk=run.pk)
    if found := Control.objects.filter(request_id=request_id).first():  # under the lock: its twin may be on the way
        return _same(found, run_id=run.pk, verb=verb)
    is_done = {"pause": _pause, "resume": _resume, "cancel": _cancel}[verb](locked)
    now = timezone.now()
    control = Control.objects.create(
        run=run, verb=verb, by=by, reason=reason, request_id=request_id, obeyed_at=now if is_done else None
    )
    asked = "" if is_done else "_asked"
    audit.record(f"run.{verb}{asked}", about=run, by=by, reason=reason, request_id=request_id)
    run.refresh_from_db()
    signals.run_changed.send(Run, run_id=run.pk, agent_id=run.agent_id, state=run.state)
    return control


def _same(found: Control, *, run_id: UUID | None = None, agent_id: UUID | None = None, verb: str) -> Control:
    """The control an earlier request with this id made, if it asked for the same."""
    if (found.run_id, found.agent_id, found.verb) != (run_id, agent_id, verb):
        raise errors.Conflict("This request id was used for something else; make a new one.", field="request_id")
    return found


def _is_driven(run: Run) -> bool:
    """Whether its lease is good by the clock that made it: a web server's own may be minutes off."""
    return Run.objects.filter(pk=run.pk, state__in=Run.DRIVEN, lease_until__gt=Now()).exists()


def _has_lost_call(run: Run) -> bool:
    """Whether a driver died while a model worked: the next one books that call and then obeys."""
    under_way = Step.objects.filter(run=run, state=Step.State.INTENDED, kind=Step.Kind.MODEL, due_at=None)
    return run.state in Run.DRIVEN and under_way.exists()


def _pause(run: Run) -> bool:
    if run.state == Run.State.PAUSED or run.asked == Run.Asked.PAUSE:
        raise errors.Conflict("This run is paused already.")
    if run.asked == Run.Asked.CANCEL:
        raise errors.Conflict("This run is being cancelled; it can no longer be paused.")
    if _is_driven(run):
        Run.objects.filter(pk=run.pk).update(asked=Run.Asked.PAUSE)
        return False
    run.move(to=Run.State.PAUSED, lease_until=None, lease_holder="", steps_done=_steps_taken(run))
    return True


def _resume(run: Run) -> bool:
    if run.state in Run.DRIVEN and run.asked == Run.Asked.PAUSE:
        Run.objects.filter(pk=run.pk).update(asked=Run.Asked.NOTHING)
        Control.objects.filter(run=run, verb=Control.Verb.PAUSE, obeyed_at=None).update(obeyed_at=timezone.now())
        return True
    if run.state != Run.State.PAUSED:
        raise errors.Conflict(f"This run is {run.get_state_display().lower()}, not paused; there is nothing to resume.")
    if elsewhere.is_elsewhere(run):
        elsewhere.go_on(run)
        return True
    run.move(to=Run.State.QUEUED, asked="", rings=0, rung_at=None)
    signals.run_ready.send(Run, run_id=run.pk, queue=Run.Queue.CONTROL)
    return True


def _cancel(run: Run) -> bool:
    if run.is_ended:
        raise errors.Conflict(f"This run is {run.get_state_display().lower()}; it can no longer be cancelled.")
    if run.ending is not None:
        raise errors.Conflict("This run is taking its acts back already, and ends when that is done.")
    if _is_driven(run) or _has_lost_call(run):
        Run.objects.filter(pk=run.pk).update(asked=Run.Asked.CANCEL)
        signals.run_ready.send(Run, run_id=run.pk, queue=Run.Queue.CONTROL)
        transaction.on_commit(lambda: publish_cancel(run.pk), robust=True)
        return False
    taken, reason = _steps_taken(run), "The run was cancelled."
    if not take_back(run, CANCELLED, reason=reason, steps_done=taken):
        close_open_steps(run.pk, reason=reason)
        run.move(to=Run.State.CANCELLED, steps_done=taken)
        delegating.report(run.pk)
    return True


@transaction.atomic
def withdraw(run_id: UUID, *, reason: str) -> bool:
    """Cancel a run that nobody waits for any more; False where that was done before, or it has ended."""
    run = Run.objects.select_for_update(of=("self",)).get(pk=run_id)
    if run.is_ended or run.ending is not None or run.asked == Run.Asked.CANCEL:
        return False
    now = timezone.now() if _cancel(run) else None
    request_id = uuid5(run_id, "withdrawn")
    Control.objects.create(run=run, verb=Control.Verb.CANCEL, reason=reason, request_id=request_id, obeyed_at=now)
    audit.record("run.cancel" if now else "run.cancel_asked", about=run, by=None, reason=reason)
    run.refresh_from_db()
    signals.run_changed.send(Run, run_id=run.pk, agent_id=run.agent_id, state=run.state)
    return True


def _steps_taken(run: Run) -> int:
    """How many steps it has closed; a driver that died may not have come to say so. Count before any are withdrawn."""
    return run.steps.filter(finished_at__isnull=False).count()


def freeze(agent: Agent, *, by: User, reason: str, request_id: UUID) -> Control:
    """No run of this agent starts another step until it is thawed. No run's state changes, so nothing is to be
    restored."""
    _require(Permission.STEER, agent, Control.Verb.FREEZE, by=by, request_id=request_id)
    return _freeze(agent, by=by, reason=reason, request_id=request_id)


@transaction.atomic
def _freeze(agent: Agent, *, by: User, reason: str, request_id: UUID) -> Control:
    if not reason.strip():
        raise errors.Invalid("Say why you freeze this agent; the next person will ask.", field="reason")
    _lock(agent)
    if found := Control.objects.filter(request_id=request_id).first():
        return _same(found, agent_id=agent.pk, verb=Control.Verb.FREEZE)
    fields = {"frozen_at": timezone.now(), "frozen_by": by, "frozen_reason": reason}
    if not Agent.objects.filter(pk=agent.pk, frozen_at=None).update(**fields):
        raise errors.Conflict(f"{agent} is frozen already.")
    return _agent_control(agent, Control.Verb.FREEZE, by=by, reason=reason, request_id=request_id)


def _lock(agent: Agent) -> None:
    """One freeze or thaw of an agent at a time; what refers to it is not kept waiting."""
    Agent.objects.select_for_update(of=("self",), no_key=True).only("pk").get(pk=agent.pk)


def thaw(agent: Agent, *, by: User, reason: str = "", request_id: UUID) -> Control:
    """Let the agent's runs go on exactly where they were."""
    _require(Permission.STEER, agent, Control.Verb.THAW, by=by, request_id=request_id)
    return _thaw(agent, by=by, reason=reason, request_id=request_id)


@transaction.atomic
def _thaw(agent: Agent, *, by: User, reason: str, request_id: UUID) -> Control:
    _lock(agent)
    if found := Control.objects.filter(request_id=request_id).first():
        return _same(found, agent_id=agent.pk, verb=Control.Verb.THAW)
    cleared = {"frozen_at": None, "frozen_by": None, "frozen_reason": ""}
    if not Agent.objects.filter(pk=agent.pk, frozen_at__isnull=False).update(**cleared):
        raise errors.Conflict(f"{agent} is not frozen.")
    control = _agent_control(agent, Control.Verb.THAW, by=by, reason=reason, request_id=request_id)
    idle = Run.objects.filter(agent=agent).filter(Q(state=Run.State.QUEUED) | Q(state__in=Run.DRIVEN, lease_until=None))
    for run_id, queue in idle.order_by("pk").values_list("pk", "queue")[:1000]:  # the sweep rings the rest
        signals.run_ready.send(Run, run_id=run_id, queue=queue)
    return control


def _require(permission: Permission, about: Run | Agent, verb: str, *, by: User, request_id: UUID) -> None:
    """Refuse whoever may not, and keep the attempt: outside the transaction that the refusal ends."""
    if by.may(permission, about.team_id):
        return
    why = f"You may not {verb} {about}; that takes the role operator in {about.team}."
    audit.refuse(f"{about._meta.model_name}.{verb}", about=about, by=by, because=why, request_id=request_id)


def _agent_control(agent: Agent, verb: Control.Verb, *, by: User, reason: str, request_id: UUID) -> Control:
    now = timezone.now()
    control = Control.objects.create(agent=agent, verb=verb, by=by, reason=reason, request_id=request_id, obeyed_at=now)
    audit.record(f"agent.{verb}", about=agent, by=by, reason=reason, request_id=request_id)
    agent.refresh_from_db()
    signals.agent_changed.send(Agent, agent_id=agent.pk)
    return control


def draining(agent: Agent) -> int:
    """Steps still in flight of an agent that was frozen: what was begun is allowed to say how it ended."""
    return Run.objects.filter(agent=agent, state__in=Run.DRIVEN, lease_until__gt=Now()).count()


def overdue(*, limit: int = 200) -> int:
    """Fail runs past their deadline that nobody drives; a driven one sees its deadline by itself, and so does the next
    driver of one that lost a model call, which it books first."""
    idle = Q(lease_until=None) | Q(lease_until__lt=Now() - timedelta(seconds=1))
    lost_call = Step.objects.filter(run=OuterRef("pk"), state=Step.State.INTENDED, kind=Step.Kind.MODEL, due_at=None)
    owes = Q(state__in=Run.DRIVEN) & Exists(lost_call)
    late = Run.objects.filter(idle, ~owes, finished_at=None, deadline_at__lt=Now(), ending__isnull=True)
    ended = 0
    for pk in list(late.values_list("pk", flat=True)[:limit]):
        with transaction.atomic():
            # Looked at again under its lock: it may have ended, or found a driver, meanwhile.
            if run := late.select_for_update(of=("self",), skip_locked=True).filter(pk=pk).first():
                _end_overdue(run)
                ended += 1
    return ended


def _end_overdue(run: Run) -> None:
    taken, reason = _steps_taken(run), "The run's deadline passed."
    why = f"The deadline was {run.deadline_at:%Y-%m-%d %H:%M:%S} UTC."
    last = {"state": "failed", "result": None, "failure_class": "limit:deadline", "failure": why}
    if take_back(run, last, reason=reason, steps_done=taken):
        return
    close_open_steps(run.pk, reason=reason)
    run.move(to=Run.State.FAILED, failure_class="limit:deadline", failure=why, steps_done=taken)
    delegating.report(run.pk)
    audit.record("run.failed", about=run, by=None, reason=why, failure_class="limit:deadline")
    signals.run_changed.send(Run, run_id=run.pk, agent_id=run.agent_id, state=run.state)
