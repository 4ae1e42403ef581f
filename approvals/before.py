"""What was asked about an act before, for whoever is asked about it now: a question back to the agent with what the
agent answered, or an approval that no longer held when the act was to happen."""

from dataclasses import dataclass

from agents.models import Step, StepPayload
from agents.runs.programs import llm
from approvals.models import Approval, Decision


@dataclass(frozen=True, slots=True)
class Before:
    """The approval that this one follows, how it was answered, and what the agent has said since, if it said it in
    words."""

    approval: Approval
    decision: Decision | None
    said: str


def of(approval: Approval) -> Before | None:
    """None where nothing was asked before."""
    if approval.follows_id is None:
        return None
    earlier = Approval.objects.get(pk=approval.follows_id)
    decision = earlier.decisions.select_related("by").order_by("at").last()
    return Before(earlier, decision, _said(approval, since=earlier.seq))


def _said(approval: Approval, *, since: int) -> str:
    """The last words of the model between the two."""
    between = Step.objects.filter(run_id=approval.run_id, seq__gt=since, seq__lt=approval.seq)
    last = between.filter(kind=Step.Kind.MODEL, state=Step.State.DONE).order_by("-seq").first()
    if last is None:
        return ""
    payload = StepPayload.objects.filter(run_id=approval.run_id, seq=last.seq).first()
    output = payload.output if payload else None
    return llm.text_of(output["message"]) if isinstance(output, dict) and "message" in output else ""
