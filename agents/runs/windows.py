"""Acts that are announced before they happen: "sends in 45 s", and whoever sees a reason may stop one.

Nobody is asked, so nobody's silence is an answer: at tier 2 the agent may act alone, the window only gives people time.
A step that is announced is held with a moment on it; its run waits as a row. When the moment comes, the gates are asked
again: what they hold or deny by then does not happen.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from agents import errors, signals
from agents.audit import log as audit
from agents.contracts import Action, Answer, Verdict
from agents.models import Control, Permission, Run, Step, User
from agents.runs import holds, steps
from agents.runs.lease import Claim, Held
from agents.runs.steps import Planned

SECONDS, PASSED = "stop_window_s", "stop_window_passed"
"""Facts of an action: how long its tool wants it to be announced, and that it has been."""

LENGTH = "window_s"
"""What the detail of a verdict says that only announces."""


def announces(verdict: Verdict) -> bool:
    """Whether a hold asks nobody: every gate that holds only wants the act to be seen first."""
    return all(LENGTH in one.detail for one in verdict.parts or (verdict,))


def announce(claim: Claim, announced: Sequence[tuple[Planned, Verdict]]) -> None:
    """Store steps that go ahead by themselves after a while."""
    with steps.database():
        steps.heed(claim, steps.fenced(claim))
        if claim.is_untuned:  # they are judged anew
            return
        due = {step.seq: steps.now() + timedelta(seconds=_length(verdict)) for step, verdict in announced}
        for step, verdict in announced:
            steps.insert(claim, step, Step.State.HELD, verdict=verdict)
            Step.objects.filter(run_id=claim.run_id, seq=step.seq).update(due_at=due[step.seq])
    for step, _ in announced:
        steps.remember(claim, step, Step.State.HELD, None, "")
        claim.open[step.seq] = Held(Step.State.HELD, step.attempt, None, due_at=due[step.seq])
    steps.progress(claim)


def coming(user: User, *, limit: int) -> list[Step]:
    """Acts of one's teams that happen soon unless somebody stops them, the next one first."""
    waiting = Run.objects.visible_to(user).filter(state=Run.State.WAITING, waits=Run.Waits.WINDOW)
    runs = list(waiting.order_by("wake_at").values_list("pk", flat=True)[:limit])
    found = Step.objects.filter(run__in=runs, state=Step.State.HELD, due_at__isnull=False, answer__isnull=True)
    return list(found.select_related("run__agent").order_by("due_at", "run_id", "seq")[:limit])


def passed(action: Action) -> Action:
    """The action once it has been announced, as gates shall see it."""
    return replace(action, facts=action.facts | {PASSED: True})


def _length(verdict: Verdict) -> float:
    return max(float(one.detail[LENGTH]) for one in verdict.parts or (verdict,))


def stop(run: Run, seq: int, *, by: User, reason: str, request_id: UUID) -> Control:
    """Stop an act that was announced, as a person's refusal: the agent is told why and goes on. The same request id is
    one act. Raises `Forbidden`, `Invalid`, or `Conflict` for whoever comes too late."""
    if not (by.may(Permission.STEER, run.team_id) or by.may(Permission.DECIDE, run.team_id)):
        why = f"You may not stop what {run.agent} does; that takes the role operator or reviewer in {run.team}."
        audit.refuse("run.stop", about=run, by=by, because=why, request_id=request_id)
    if not reason.strip():
        raise errors.Invalid("Say why you stop it; the agent and the next person will ask.", field="reason")
    return _stop(run, seq, by=by, reason=reason.strip(), request_id=request_id)


@transaction.atomic
def _stop(run: Run, seq: int, *, by: User, reason: str, request_id: UUID) -> Control:
    Run.objects.select_for_update(of=("self",)).only("pk").get(pk=run.pk)
    if found := Control.objects.filter(request_id=request_id).first():
        if (found.run_id, found.verb) != (run.pk, Control.Verb.STOP):
            raise errors.Conflict("This request id was used for something else; make a new one.", field="request_id")
        return found
    step = Step.objects.filter(run_id=run.pk, seq=seq).first()
    if step is None:
        raise errors.Missing()
    if not step.is_announced:
        raise errors.Conflict(f"Too late: {step.name} is {step.get_state_display().lower()}. Nothing was stopped.")
    holds.answer(run.pk, seq, answer=Answer("rejected", by.pk, by.name, reason))
    control = Control.objects.create(
        run=run, verb=Control.Verb.STOP, by=by, reason=reason, request_id=request_id, obeyed_at=timezone.now()
    )
    audit.record("run.stop", about=run, by=by, reason=reason, request_id=request_id, seq=seq, tool=step.name)
    run.refresh_from_db()
    signals.run_changed.send(Run, run_id=run.pk, agent_id=run.agent_id, state=run.state)
    return control
