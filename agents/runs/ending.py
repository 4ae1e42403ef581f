"""How a drive ends: the run finished, failed, waits, was paused or cancelled, or is handed back. All fenced."""

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection
from django.utils import timezone

from agents import signals
from agents.audit import log as audit
from agents.audit.transactions import CurrentXidNumber
from agents.contracts import Answer, Finish, Json, Wait
from agents.models import Control, Run, Step
from agents.runs import compensating, delegating, holds, hotpath, lease, performing, retrying, steps
from agents.runs.lease import Claim, Held
from agents.runs.steps import Planned

TIMER = Run.Waits.TIMER
CANCELLED: Json = {"state": "cancelled", "result": None, "failure_class": "", "failure": ""}


def finish(claim: Claim, last: Finish) -> None:
    """The program is done: completed with its result, or failed with its own failure class."""
    if last.failure:
        fail(claim, last.failure, last.detail, result=last.result)
        return
    if last.spent is None:
        end(claim, "completed", result=last.result)
        return
    with steps.database():
        steps.book(claim, performing.billed_whole(claim, last.spent))
        end(claim, "completed", result=last.result)


def fail(claim: Claim, failure_class: str, why: str, *, result: Any = None) -> None:
    """The run cannot go on: what it did is taken back, where that is possible, and open questions are withdrawn."""
    why, failure_class = hotpath.text(why), hotpath.text(failure_class, most=60)
    with steps.database():
        hotpath.fenced(steps.guard(claim))  # the run before its questions, as everyone locks them
        run = Run.objects.select_related("agent", "release").get(pk=claim.run_id)
        last = {"state": "failed", "result": hotpath.plain(result), "failure_class": failure_class, "failure": why}
        reason = f"The run failed: {why}"
        if take_back(run, last, reason=reason, steps_done=claim.steps_done):
            return
        close_open_steps(claim.run_id, reason=reason)
        end(claim, "failed", result=result, failure_class=failure_class, failure=why)
        audit.record("run.failed", about=run, by=None, reason=why, failure_class=failure_class)


def take_back(run: Run, ending: Json, *, reason: str, steps_done: int) -> bool:
    """Where a run that is to end like this has acted: queue it to take its acts back first. False when it may end at
    once. Call in a transaction that locks the run."""
    doubtful = compensating.doubtful(run)
    if not doubtful and not compensating.owed(run):
        return False
    close_open_steps(run.pk, reason=reason, keeping=[step.seq for step in doubtful])
    compensating.begin(run, ending=ending, steps_done=steps_done)
    return True


def conclude(claim: Claim) -> None:
    """Every act is taken back, or left by a person: the run ends as it was to end."""
    assert claim.ending is not None
    with steps.database():
        hotpath.fenced(steps.guard(claim))
        run = Run.objects.select_related("agent").get(pk=claim.run_id)
        tally, last = compensating.tally(run), claim.ending
        end(claim, **last)
        detail = {"failure_class": last["failure_class"]} if last["failure_class"] else {}
        about = {"taken_back": tally.taken_back, "left": tally.left, **detail}
        audit.record(f"run.{last['state']}", about=run, by=None, reason=last["failure"], **about)


def stop(claim: Claim, step: Planned, answer: Answer) -> None:
    """A person ends the run over a step in doubt: the answer is used up in the transaction that ends it, or kept."""
    with steps.database():
        hotpath.fenced(steps.guard(claim))
        steps.close(claim, step, answer)
        fail(claim, "stopped", f"{answer.by_name} stopped the run over a step in doubt: {answer.reason}")


def end(claim: Claim, state: str, *, result: Any = None, failure_class: str = "", failure: str = "") -> None:
    """One statement; then whoever listens is told."""
    params: dict[str, Any] = {
        "run": claim.run_id,
        "token": claim.token,
        "state": state,
        "result": hotpath.to_json(result),
        "failure_class": failure_class,
        "failure": failure,
        "steps_done": claim.steps_done,
    }
    if connection.in_atomic_block or claim.parent_id is not None:
        with steps.database():
            hotpath.fenced(hotpath.within(hotpath.END, params))
            if claim.parent_id is not None:
                delegating.report(claim.run_id)
    else:
        hotpath.fenced(hotpath.one(hotpath.END, params))
    announce(claim, state)


def announce(claim: Claim, state: str) -> None:
    """Tell the fleet that this run moved."""
    signals.run_changed.send(Claim, run_id=claim.run_id, agent_id=claim.agent_id, state=state)


def let_go(claim: Claim, state: str, *, waits: str = "", waiting_for: str = "", wake_at: Any = None) -> None:
    """Give up the lease and put the run where it belongs. Call inside `steps.database()`, after `steps.guard`."""
    params: dict[str, Any] = {
        "run": claim.run_id,
        "token": claim.token,
        "state": state,
        "waits": waits,
        "waiting_for": hotpath.text(waiting_for, most=200),
        "wake_at": wake_at,
        "steps_done": claim.steps_done,
    }
    hotpath.fenced(hotpath.within(hotpath.LET_GO, params))
    announce(claim, state)


def obey(claim: Claim) -> None:
    """Do what people asked: pause, cancel; for a frozen agent just let go, so that a thaw has nothing to restore."""
    with steps.database():
        steps.heed(claim, hotpath.fenced(steps.guard(claim)))
        if claim.asked == "cancel":
            cancel(claim)
        elif claim.asked == "pause":
            let_go(claim, "paused")
            Run.objects.filter(pk=claim.run_id).update(asked="")
        elif claim.frozen:
            let_go(claim, claim.state)
        else:  # withdrawn in the meantime
            let_go(claim, "queued")
            signals.run_ready.send(Run, run_id=claim.run_id, queue=claim.queue)
        Control.objects.filter(run_id=claim.run_id, obeyed_at=None).update(obeyed_at=timezone.now())


def cancel(claim: Claim) -> None:
    """A person ends the run. Call inside `steps.database()`, after `steps.guard`."""
    run = Run.objects.select_related("release").get(pk=claim.run_id)
    reason = "The run was cancelled."
    if not take_back(run, CANCELLED, reason=reason, steps_done=claim.steps_done):
        close_open_steps(claim.run_id, reason=reason)
        end(claim, "cancelled")


def hand_back(claim: Claim) -> None:
    """Queue the run again: this worker ends, or others have waited long enough."""
    with steps.database():
        steps.heed(claim, hotpath.fenced(steps.guard(claim)))
        if claim.asked:
            obey(claim)
            return
        let_go(claim, "queued")
        signals.run_ready.send(Run, run_id=claim.run_id, queue=claim.queue)


def wait_for_open_steps(claim: Claim) -> bool:
    """Wait until every held step is answered or the next try is due; False when the drive can go on at once."""
    with steps.database():
        steps.heed(claim, hotpath.fenced(steps.guard(claim)))
        if claim.asked or claim.frozen:
            return False
        asked = holds.questions(claim.run_id)
        unanswered, below = set(asked.values_list("state", flat=True)), delegating.awaited(claim.run_id).count()
        later = [held for held in claim.open.values() if held.due_at]
        soonest = min(later, key=lambda held: held.due_at or steps.now(), default=None)
        if unanswered or below or (soonest and soonest.due_at and soonest.due_at > steps.now()):
            waits = Run.Waits.DELEGATION if below and not unanswered else awaited(unanswered, soonest)
            label = f"{below} delegated run{'s' * (below != 1)}" if waits == Run.Waits.DELEGATION else waits.label
            let_go(claim, "waiting", waits=waits, waiting_for=label, wake_at=soonest and soonest.due_at)
            return True
    lease.recall(claim)
    return False


def awaited(unanswered: set[str], soonest: Held | None) -> Run.Waits:
    """What a run with open steps waits for: people first, since no clock answers for them."""
    if "in_doubt" in unanswered:
        return Run.Waits.DOUBT
    if unanswered or soonest is None:
        return Run.Waits.APPROVAL
    if soonest.state == "held":
        return Run.Waits.WINDOW
    return retrying.waits_for(soonest.error_class)


def wait_until(claim: Claim, wait: Wait, *, seq: int) -> bool:
    """A timer: the wait is a stored step, the run a row with a moment on it. False when people want something else
    first, and then nothing is written: the program asks for the wait again."""
    at = steps.now()
    row: dict[str, Any] = {"run": claim.run_id, "token": claim.token, "seq": seq, "turn": seq}
    row |= {"kind": "wait", "name": "wait"}
    row |= {"state": "done", "tier": None, "call_id": "", "says": hotpath.text(wait.why), "started_at": at}
    row |= {"finished_at": at, "error_class": "", "error": "", "output": None, "in_force": None}
    with steps.database():
        steps.heed(claim, hotpath.fenced(steps.guard(claim)))
        if claim.asked or claim.frozen:
            return False
        hotpath.within(hotpath.CHECKPOINT, row | {"input": hotpath.to_json({"until": wait.until})})
        claim.steps_done += 1
        let_go(claim, "waiting", waits=TIMER, waiting_for=wait.why or TIMER.label, wake_at=wait.until)
    return True


def wait_on(claim: Claim) -> bool:
    """Go on waiting, or obey, where a pause or a death cut a wait short; False when there is nothing to wait for. The
    history says until when, whoever drives."""
    last = claim.history[max(claim.history)] if claim.history else None
    if last is None or last.kind != "wait" or (until := datetime.fromisoformat(last.input["until"])) <= steps.now():
        return False
    with steps.database():
        steps.heed(claim, hotpath.fenced(steps.guard(claim)))
        if claim.asked or claim.frozen:
            obey(claim)
            return True
        why = Step.objects.values_list("says", flat=True).get(run_id=claim.run_id, seq=last.seq)
        let_go(claim, "waiting", waits=TIMER, waiting_for=why or TIMER.label, wake_at=until)
    return True


def close_open_steps(run_id: UUID, *, reason: str, keeping: Collection[int] = ()) -> None:
    """Withdraw what was held, in doubt or to be tried again, but for steps worth `keeping`. What may have happened by
    then is kept as such. Call inside a transaction."""
    unknown = f"{reason} Whether it had happened by then, nobody knows."
    open_steps = Step.objects.filter(run_id=run_id, state__in=["held", "intended", "in_doubt"])
    for step in open_steps.exclude(seq__in=keeping):
        signals.step_closed.send(Run, run_id=run_id, seq=step.seq, reason=reason)
        may_have_happened = compensating.may_have_happened(step)
        why = {"error_class": "in_doubt", "error": unknown} if may_have_happened else {"error": reason}
        closed = {"state": "cancelled", "finished_at": timezone.now(), "due_at": None, "xid": CurrentXidNumber()}
        Step.objects.filter(run_id=run_id, seq=step.seq).update(**closed, **why)
