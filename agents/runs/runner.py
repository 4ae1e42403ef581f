"""The driver: ask the program, let gates judge, perform, checkpoint, and obey people between any two steps.

One driver per run, held by a lease with a fencing token. A driver keeps nothing that is not stored: killed at any
point, the next one asks the program again with the stored history and goes on.
"""

import logging
import time
from dataclasses import replace
from decimal import Decimal
from uuid import UUID

from django.db import connection

from agents import errors, signals
from agents.cancellation import Cancellation
from agents.contracts import Answer, AskModel, Delegate, Event, Finish, Stance, Turn, UseTool, Verdict, Wait
from agents.models import Step
from agents.runs import (
    compensating,
    delegating,
    ending,
    gates,
    handing,
    hotpath,
    lease,
    performing,
    pinning,
    planning,
    programs,
    reasking,
    steps,
    tuning,
    windows,
)
from agents.runs.keeper import keeper
from agents.runs.lease import Claim
from agents.runs.steps import Planned, Result
from agents.runs.unwinding import Unwinding

log = logging.getLogger(__name__)

YIELD_STEPS = 50
YIELD_SECONDS = 60.0
POISONED_AFTER = 5
SHORT_REST_S = 1.0
MOST_STEPS = 1000  # where a release sets no limit of its own: no run goes round for ever


def drive(run_id: UUID) -> None:
    """Drive a run until it ends, waits or is told to stop; one that is not free is left alone."""
    if claim := lease.take(run_id):
        drive_claimed(claim)


def drive_claimed(claim: Claim) -> None:
    """Drive a run that this process has claimed."""
    signals.run_changed.send(Claim, run_id=claim.run_id, agent_id=claim.agent_id, state=claim.state)
    try:
        is_going_on, done = claim.ending is None, lambda: claim.steps_done
        with keeper().keeping(claim.run_id, claim.token, done, hears_cancels=is_going_on) as cancellation:
            if is_going_on and pinning.must_ask(claim):
                return
            driver = Driver(claim, cancellation) if is_going_on else unwind(claim, cancellation)
            connection.close()  # what its assignment was read with; a tool may now take minutes
            try:
                driver.drive()
            except errors.Stopped:
                ending.hand_back(claim)
    except errors.Fenced:
        log.info("run %s is in other hands; this driver changed nothing since", claim.run_id)
    finally:
        if not connection.in_atomic_block:
            connection.close()


def unwind(claim: Claim, cancellation: Cancellation) -> Unwinding:
    """The driver of a run that takes its acts back before it ends."""
    return Unwinding(claim, cancellation, is_wary=claim.deaths >= POISONED_AFTER)


class Driver:
    """One drive: from claim to end, wait, pause or yield."""

    def __init__(self, claim: Claim, cancellation: Cancellation) -> None:
        self.claim = claim
        self.cancellation = cancellation
        self.program = programs.load(claim.release.program)
        self.assignment = tuning.tune(claim)
        self.is_whole_turn = claim.token == 1  # nobody left half a turn behind
        self.is_single = False
        self.foreseen: tuple[int, Turn] | None = None
        self.stopped: tuple[Planned, Answer] | None = None
        self.yield_after = claim.steps_done + YIELD_STEPS
        self.yield_at = time.monotonic() + YIELD_SECONDS

    def drive(self) -> None:
        """Turn after turn until there is a reason to stop."""
        if self.claim.deaths <= POISONED_AFTER:  # beyond it, this is what they die of
            self.book_lost_calls()
        if self.claim.deaths >= POISONED_AFTER:
            ending.fail(self.claim, "poisoned", f"{self.claim.deaths} drivers in a row died on this run.")
            return
        while not self.must_stop() and not ending.wait_on(self.claim):
            if self.claim.is_untuned:
                self.assignment, self.foreseen = tuning.tune(self.claim), None
                if pinning.is_elsewhere(self.claim):
                    ending.hand_back(self.claim)
                    return
            start, asked = self.next_turn()
            if asked and isinstance(asked[0], Finish):
                ending.finish(self.claim, asked[0])
                return
            if limit := exceeded(self.claim):  # of what it would do next: what is finished took no more than allowed
                ending.fail(self.claim, f"limit:{limit[0]}", limit[1])
                return
            if asked and isinstance(asked[0], Wait):
                if ending.wait_until(self.claim, asked[0], seq=start):
                    return
                continue
            if not self.take(start, asked) and not self.rests() and ending.wait_for_open_steps(self.claim):
                return

    def must_stop(self) -> bool:
        """Between two steps: obey people, make room for others."""
        claim = self.claim
        if claim.ended:
            ending.announce(claim, "completed")
            return True
        if claim.asked or claim.frozen:
            ending.obey(claim)
            return True
        if self.stopped:
            ending.stop(claim, *self.stopped)
            return True
        if keeper().stopping.is_set() or (self.is_long() and self.others_wait()):
            ending.hand_back(claim)
            return True
        return False

    def is_long(self) -> bool:
        """Whether this drive has had its share."""
        return self.claim.steps_done >= self.yield_after or time.monotonic() >= self.yield_at

    def others_wait(self) -> bool:
        """Whether somebody would use this worker; if not, the drive gets another share."""
        row = hotpath.one(hotpath.OTHERS_WAIT, {"queue": self.claim.queue})
        if row and row[0]:
            return True
        self.yield_after, self.yield_at = self.claim.steps_done + YIELD_STEPS, time.monotonic() + YIELD_SECONDS
        return False

    def next_turn(self) -> tuple[int, Turn]:
        """The first seq and the asks of the turn to work on: the last one if part of it is undone, else a new one.

        A program is pure, so asking again with the history before an unfinished turn gives that turn again.
        """
        history = self.claim.history
        if history and (self.claim.open or not self.is_whole_turn):
            start = history[max(history)].turn
            before = [event for seq, event in sorted(history.items()) if seq < start]
            if self.claim.open or not self.is_whole(start, before):
                return start, self.ask(before)
        self.is_whole_turn = True
        start = max(history, default=0) + 1
        if self.foreseen and self.foreseen[0] == start:
            return self.foreseen
        return start, self.ask([history[seq] for seq in sorted(history)])

    def foresee(self, step: Planned, result: Result) -> Finish | None:
        """What the program says once it knows of this too, where that is the plain end of the run: then the step and
        the end are one commit. A program is pure, so what it says otherwise is kept for the turn that follows."""
        claim = self.claim
        if step.stored or claim.parent_id is not None or connection.in_atomic_block or not self.is_single:
            return None
        events = [claim.history[seq] for seq in sorted(claim.history)]
        turn = self.ask([*events, steps.event(step, result.state, result.output, result.error)])
        self.foreseen = step.seq + 1, turn
        last = turn[0] if turn else None
        return last if isinstance(last, Finish) and not last.failure and last.spent is None else None

    def is_whole(self, start: int, before: list[Event]) -> bool:
        """Whether every ask of the turn at `start` has a step. Only a taken-over run can have a turn that is not."""
        return all(seq in self.claim.history for seq in range(start, start + len(self.ask(before))))

    def ask(self, events: list[Event]) -> Turn:
        """Ask the program; one that raises is a failed run with its evidence, not a crash loop."""
        try:
            turn = self.program.next(self.assignment, events)
            return [planning.as_use(one) if isinstance(one, Delegate) else one for one in turn]
        except Exception as error:  # company code: whatever it raises must end this run and no other
            log.exception("program %s of run %s raised", self.claim.release.program, self.claim.run_id)
            return [Finish(failure="program_error", detail=f"{type(error).__name__}: {error}")]

    def take(self, start: int, asked: Turn) -> bool:
        """Work on one turn: gate what is new together, perform what may be; False while a person must answer first."""
        self.is_single = len(asked) == 1
        fresh, ready = self.sort_out(start, asked)
        if self.stopped:
            return True
        held: list[tuple[Planned, Verdict]] = []
        announced: list[tuple[Planned, Verdict]] = []
        for step in fresh:
            verdict = gates.judge(step.action)
            if verdict.stance == Stance.DENY:
                refusal = Result("refused", error=verdict.reason, gate=verdict.gate, gate_reason=verdict.reason)
                steps.refuse(self.claim, step, refusal)
            elif verdict.stance == Stance.HOLD:
                (announced if windows.announces(verdict) else held).append((step, verdict))
            else:
                ready.append(step)
        if held:
            steps.hold(self.claim, held)
        if announced:
            windows.announce(self.claim, announced)
        for step in sorted(ready, key=lambda step: step.seq):
            if self.is_wanted():
                break
            self.perform(step)
        if self.is_wanted():
            self.is_whole_turn = False  # what is left of it is planned anew, by whoever drives then
            return True
        return not self.claim.open

    def is_wanted(self) -> bool:
        """Whether something comes before the rest of a turn: people, other parameters, the end of this worker."""
        claim = self.claim
        return bool(claim.asked or claim.frozen or claim.is_untuned or keeper().stopping.is_set())

    def rests(self) -> bool:
        """Sit out a moment before the next try: it would pass while the run is put away and fetched again."""
        if any(held.due_at is None for held in self.claim.open.values()):
            return False
        seconds = (min(held.due_at for held in self.claim.open.values() if held.due_at) - steps.now()).total_seconds()
        if seconds > SHORT_REST_S:
            return False
        self.cancellation.wait(seconds)
        if any(held.state == "held" for held in self.claim.open.values()):
            lease.recall(self.claim)  # somebody may have stopped what was announced
        return True

    def perform(self, step: Planned) -> None:
        """Take a step; what a gate refuses at the last moment is a refused step that the program sees."""
        try:
            performing.perform(self.claim, step, self.cancellation, self.foresee)
        except errors.Moved as error:
            reasking.ask_again(self.claim, step, error)
        except errors.DomainError as error:
            self.stop_trying(step, Verdict(Stance.DENY, "dispatch", error.message))

    def sort_out(self, start: int, asked: Turn) -> tuple[list[Planned], list[Planned]]:
        """What of this turn is new, and what was stored and can go on now. Closed steps and open questions are
        passed over."""
        fresh, ready = [], []
        for seq, ask in enumerate(asked, start):
            if not isinstance(ask, AskModel | UseTool):
                raise TypeError(f"{self.claim.release.program} put {type(ask).__name__} among other asks")
            stored = self.claim.open.get(seq)
            if seq in self.claim.history and stored is None:
                continue
            planned = planning.plan(self.claim, ask, seq=seq, turn=start)
            if isinstance(planned, tuple):
                steps.refuse(self.claim, *planned)
            elif stored is None:
                fresh.append(planned)
            elif going_on := self.go_on(replace(planned, stored=True, attempt=stored.attempt)):
                ready.append(going_on)
        return fresh, ready

    def go_on(self, step: Planned) -> Planned | None:
        """What to do with a step that is stored but not closed; None when nothing can be done now."""
        stored = self.claim.open[step.seq]
        if stored.state == "intended" and step.action.kind == "delegate":
            delegating.close(self.claim, step)
            return None
        if stored.state == "intended":
            return None if stored.due_at and stored.due_at > steps.now() else self.try_again(step)
        if stored.answer is None:
            return self.go_ahead(step) if stored.state == "held" and stored.due_at else None
        answer = Answer(**stored.answer)
        action = replace(step.action, answer=answer)
        if step.ask.recorded and answer.kind != "approved":
            steps.close(self.claim, replace(step, action=action), replace(answer, kind="rejected"))
            return None
        if stored.state == "in_doubt" and answer.kind == "rejected":
            self.stopped = replace(step, action=action), answer  # nothing is stored before the run ends with it
            return None
        if answer.kind in {"approved", "edited", "absent"}:
            again = step.attempt + (answer.kind == "absent")
            if answer.arguments is not None:
                action = replace(action, arguments=answer.arguments)
                action = planning.replace_said(action, step.spec) if step.spec else action
            # A person was asked at the stored tier; that an override ended since takes nothing of that back.
            return replace(step, action=replace(action, tier=max(action.tier, stored.tier or 0)), attempt=again)
        if isinstance(step.ask, AskModel) and answer.kind == "outcome":
            steps.outcome(self.claim, replace(step, action=action), handing.in_place_of_model(answer))
            return None
        steps.close(self.claim, replace(step, action=action), answer)
        return None

    def go_ahead(self, step: Planned) -> Planned | None:
        """What was announced and nobody has stopped, once its moment has come and the gates still allow it."""
        stored = self.claim.open[step.seq]
        if stored.due_at is None or stored.due_at > steps.now():
            return None
        step = replace(step, action=windows.passed(step.action))
        verdict = gates.judge(step.action)
        if verdict.stance == Stance.ALLOW:
            return step
        self.stop_trying(step, verdict)
        return None

    def is_repeatable(self, step: Planned) -> bool:
        """Whether doing it twice is doing it once: the tool honours keys, or nothing really happens."""
        is_unreal = step.ask.recorded is not None or self.claim.environment == "sandbox"
        return is_unreal or (step.spec is not None and step.spec.idempotent)

    def book_lost_calls(self) -> None:
        """A driver died while a model worked: that call may be charged for, so it is booked before anything else."""
        for seq, held in list(self.claim.open.items()):
            event = self.claim.history[seq]
            if event.kind != "model" or not held.is_under_way:
                continue
            before = [one for place, one in sorted(self.claim.history.items()) if place < event.turn]
            ask = self.ask(before)[seq - event.turn]
            if isinstance(ask, AskModel) and ask.recorded is None:
                planned = planning.plan(self.claim, ask, seq=seq, turn=event.turn)
                assert isinstance(planned, Planned)
                performing.bill_lost(self.claim, replace(planned, attempt=held.attempt))

    def try_again(self, step: Planned) -> Planned | None:
        """The next try at what failed in passing. Where a driver died between intent and outcome: repeat what is safe
        to repeat, ask a person about the rest."""
        stored = self.claim.open[step.seq]
        given = self.claim.history[step.seq].input or {}
        action = replace(step.action, attempt=step.attempt + 1)
        if isinstance(step.ask, UseTool) and given.get("arguments") not in (None, action.arguments):
            action = replace(action, arguments=given["arguments"])  # a person had edited them
            action = planning.replace_said(action, step.spec) if step.spec else action
        if action.writes and stored.due_at is None and not self.is_repeatable(step):
            unknown = "The worker ended between the intent and the outcome; nobody knows whether this happened."
            doubt = Result("in_doubt", error_class="in_doubt", error=unknown)
            steps.outcome(self.claim, replace(step, action=action), doubt)
            return None
        if stored.answer:
            action = replace(action, answer=Answer(**stored.answer), tier=max(action.tier, stored.tier or 0))
        else:
            action = windows.passed(action)
            verdict = gates.judge(action)  # this very action: what lets it through is noted on it
            if verdict.stance != Stance.ALLOW:
                self.stop_trying(replace(step, action=action), verdict)
                return None
        return replace(step, action=action, attempt=step.attempt + 1)

    def stop_trying(self, step: Planned, verdict: Verdict) -> None:
        """The next try is not for the agent alone to make any more: a person is asked whether it may be made, or, where
        one before may have acted, what happened."""
        stored = Step.objects.filter(run_id=self.claim.run_id, seq=step.seq).first() if step.stored else None
        if stored and compensating.may_have_happened(stored):
            unknown = f"It may have happened already, and is not tried again without a person: {verdict.reason}"
            steps.outcome(self.claim, step, Result("in_doubt", error_class="in_doubt", error=unknown))
        elif verdict.stance == Stance.HOLD:
            steps.hold(self.claim, [(replace(step, attempt=step.attempt + 1), verdict)])
        else:
            refusal = Result("refused", error=verdict.reason, gate=verdict.gate, gate_reason=verdict.reason)
            steps.refuse(self.claim, step, refusal)


def exceeded(claim: Claim) -> tuple[str, str] | None:
    """The first limit this run is at, and the sentence that says so."""
    limits = claim.release.limits
    at = steps.now()
    if claim.deadline_at and at >= claim.deadline_at:
        return "deadline", f"The deadline was {claim.deadline_at:%Y-%m-%d %H:%M:%S} UTC."
    most = limits.get("steps", MOST_STEPS)
    if claim.steps_done >= most:
        return "steps", f"{allows(claim, 'steps')} {most} steps."
    used = claim.tokens_in + claim.tokens_out
    if "tokens" in limits and used >= limits["tokens"]:
        return "tokens", f"{allows(claim, 'tokens')} {limits['tokens']} tokens; {used} are used."
    spent = claim.cost + claim.cost_below
    if "cost_usd" in limits and spent >= Decimal(str(limits["cost_usd"])):
        return "cost", f"{allows(claim, 'cost_usd')} ${limits['cost_usd']}; ${spent:f} is spent."
    seconds = (at - claim.started_at).total_seconds()
    if "wall_s" in limits and seconds >= limits["wall_s"]:
        most = f"{limits['wall_s']} s from the first step"
        return "wall_time", f"{allows(claim, 'wall_s')} {most}; {seconds:.0f} s have passed."
    return None


def allows(claim: Claim, limit: str) -> str:
    """Whose limit it is."""
    is_changed = any(override["parameter"] == f"limits.{limit}" for override in claim.overrides)
    return "An override allows" if is_changed else "The release allows"
