"""The driver of a run that takes its acts back. Like every driver it keeps nothing that is not stored.

What is in doubt is asked about first. Then the acts are taken back, the last one first; one that cannot be is a
question to a person, and those before it wait: nothing is skipped in silence.
"""

from dataclasses import replace

from agents import errors, signals
from agents.cancellation import Cancellation
from agents.contracts import Answer, Stance, UseTool
from agents.models import Run, Step
from agents.runs import compensating, ending, gates, performing, planning, steps, tuning
from agents.runs.keeper import keeper
from agents.runs.lease import Claim
from agents.runs.steps import Planned, Result

DIED = "The worker died between the intent and the outcome; nobody knows whether this was taken back."
NOT_DONE = "The run ends; this had not happened and is not done any more."


class Unwinding:
    """One drive: from claim to end, wait, pause or yield. `is_wary` when drivers died on it: then a person is asked."""

    def __init__(self, claim: Claim, cancellation: Cancellation, *, is_wary: bool) -> None:
        self.claim = claim
        self.cancellation = cancellation
        self.is_wary = is_wary
        self.run = Run.objects.select_related("release").get(pk=claim.run_id)
        tuning.tune(claim)

    def drive(self) -> None:
        """Act after act until there is a reason to stop."""
        while not self.must_stop():
            if self.claim.is_untuned:
                tuning.tune(self.claim)
            if self.go_on():
                continue
            if self.claim.open:
                if ending.wait_for_open_steps(self.claim):
                    return
            elif owed := compensating.owed(self.run):
                self.take_back(owed[0])
            else:
                ending.conclude(self.claim)
                return

    def must_stop(self) -> bool:
        """Between two steps: obey people, end with the worker."""
        if self.claim.asked or self.claim.frozen:
            ending.obey(self.claim)
            return True
        if keeper().stopping.is_set():
            ending.hand_back(self.claim)
            return True
        return False

    def take_back(self, act: Step) -> None:
        """Take one act back, if gates let it and it is not too late; otherwise a person is asked."""
        seq = max(self.claim.history) + 1
        planned, problem = compensating.plan(self.claim, act, seq=seq)
        if self.is_wary:
            self.is_wary = False
            problem = f"{self.claim.deaths} drivers in a row died on taking acts of this run back."
        if problem := problem or compensating.too_late(self.claim, act):
            self.ask(planned, problem)
            return
        verdict = gates.judge(planned.action)
        if verdict.stance == Stance.DENY:
            self.ask(planned, f"{verdict.gate} does not allow it: {verdict.reason}")
        elif verdict.stance == Stance.HOLD:
            steps.hold(self.claim, [(planned, verdict)])
        else:
            self.perform(planned)

    def ask(self, planned: Planned, problem: str) -> None:
        """A person says how it goes on: done by hand, to be tried again, or left as it is."""
        steps.refuse(self.claim, planned, Result("in_doubt", error_class="not_taken_back", error=problem))

    def perform(self, planned: Planned) -> None:
        """Take it back; what fails, or is refused at the last moment, is asked about."""
        try:
            performing.perform(self.claim, planned, self.cancellation)
        except errors.DomainError as error:
            self.ask(planned, error.message)

    def go_on(self) -> bool:
        """Go on with what is stored and open; False when nothing can be done about it now."""
        return any(self.advance(seq) for seq in sorted(self.claim.open))

    def advance(self, seq: int) -> bool:
        """Go on with one open step; False when it waits for an answer."""
        step = Step.objects.get(run_id=self.claim.run_id, seq=seq)
        answer = Answer(**step.answer) if step.answer else None
        if step.compensates is None:
            return self.settle(step, answer)
        is_due = step.due_at is None or step.due_at <= steps.now()
        if not (is_due if step.state == Step.State.INTENDED else answer):
            return False
        act = Step.objects.get(run_id=self.claim.run_id, seq=step.compensates)
        planned, problem = compensating.plan(self.claim, act, seq=seq, stored=True, attempt=step.attempt)
        planned = self.as_stored(planned, answer)
        if step.state == Step.State.INTENDED:
            problem = problem or ("" if step.due_at else self.why_not_again(planned))
        elif answer and answer.kind not in {"approved", "edited", "absent"}:
            steps.close(self.claim, planned, answer)
            return True
        if problem:
            self.ask(planned, problem)
        else:
            is_again = step.state == Step.State.INTENDED or (answer is not None and answer.kind == "absent")
            self.perform(replace(planned, attempt=step.attempt + is_again))
        return True

    def as_stored(self, planned: Planned, answer: Answer | None) -> Planned:
        """The planned step with the arguments that a person gave it, if they did, and what they answered."""
        given = (self.claim.history[planned.seq].input or {}).get("arguments")
        changed = answer.arguments if answer and answer.kind == "edited" else given if not answer else None
        action = replace(planned.action, answer=answer)
        if changed and changed != action.arguments:
            action = replace(action, arguments=changed)
            action = planning.replace_said(action, planned.spec) if planned.spec else action
        return replace(planned, action=action)

    def why_not_again(self, planned: Planned) -> str:
        """Why a step whose driver died may not simply be tried again; empty when doing it twice is doing it once."""
        if self.is_wary:
            self.is_wary = False
            return f"{self.claim.deaths} drivers in a row died on this."
        return "" if planned.spec is not None and planned.spec.idempotent else DIED

    def settle(self, step: Step, answer: Answer | None) -> bool:
        """An act of which nobody knew whether it happened: ask, or take note of what a person found."""
        planned = self.doubted(step)
        if step.state == Step.State.INTENDED:
            doubt = Result("in_doubt", error_class="in_doubt", error="The run was to end before its outcome was known.")
            with steps.database():
                steps.outcome(self.claim, planned, doubt)
                Step.objects.filter(run_id=self.claim.run_id, seq=step.seq).update(due_at=None)
        elif answer is None:
            return False
        elif answer.kind == "absent":
            found = f"Found by {answer.by_name} not to have happened: {answer.reason}".strip(": ")
            with steps.database():
                steps.outcome(self.claim, planned, Result("cancelled", error_class="absent", error=found))
                signals.step_closed.send(Step, run_id=self.claim.run_id, seq=step.seq, reason=NOT_DONE)
        else:
            steps.close(self.claim, planned, answer)
        return True

    def doubted(self, step: Step) -> Planned:
        """An act of the run itself as it was stored."""
        given = (self.claim.history[step.seq].input or {}).get("arguments") or {}
        tier = step.tier or planning.UNKNOWN_TIER
        action = planning.act(self.claim, step.seq, "tool", step.name, given, tier=tier, writes=True)
        ask = UseTool(step.name, given, call_id=step.call_id)
        return Planned(step.seq, step.turn, ask, replace(action, says=step.says), attempt=step.attempt, stored=True)
