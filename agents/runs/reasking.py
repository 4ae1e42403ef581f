"""Asking a person again: what they let through is no longer what would happen, or has waited too long.

The step goes back to where it was before the answer, with the act as it would happen now; whoever keeps the questions
says what moved. Where a try before may have acted, it is asked what happened instead.
"""

from dataclasses import replace

from agents import errors
from agents.contracts import Stance, Verdict
from agents.models import Step
from agents.runs import compensating, gates, steps
from agents.runs.lease import Claim
from agents.runs.steps import Planned, Result

GATE = "dispatch"


def ask_again(claim: Claim, step: Planned, moved: errors.Moved) -> None:
    """Hold a step that a person had let through; what gates deny by now is refused."""
    stored = Step.objects.filter(run_id=claim.run_id, seq=step.seq).first()
    if stored is not None and compensating.may_have_happened(stored):
        unknown = f"It may have happened already, and is not tried again without a person: {moved.message}"
        steps.outcome(claim, step, Result("in_doubt", error_class="in_doubt", error=unknown))
        return
    unanswered = replace(step, action=replace(step.action, answer=None))
    verdict = gates.judge(unanswered.action)
    if verdict.stance == Stance.DENY:
        refusal = Result("refused", error=verdict.reason, gate=verdict.gate, gate_reason=verdict.reason)
        steps.refuse(claim, step, refusal)
        return
    if verdict.stance == Stance.ALLOW:
        verdict = Verdict(Stance.HOLD, GATE, moved.message)
    with steps.database():
        Step.objects.filter(run_id=claim.run_id, seq=step.seq).update(answer=None)
        steps.hold(claim, [(replace(unanswered, stored=stored is not None), verdict)])
