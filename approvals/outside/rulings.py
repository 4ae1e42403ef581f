"""What an agent elsewhere is told of a call: go ahead, wait, or leave it; and how a held call stands now."""

from dataclasses import dataclass
from typing import Any

from agents.contracts import Json
from agents.models import AuditEntry
from approvals.models import Approval, Decision
from approvals.outside import silence
from approvals.outside.models import OutsideCall

ALLOW, HOLD, DENY = OutsideCall.Verdict.ALLOW, OutsideCall.Verdict.HOLD, OutsideCall.Verdict.DENY
VERBS = {ALLOW: "gate.allowed", HOLD: "gate.held", DENY: "gate.denied"}
OUTCOMES = {ALLOW: AuditEntry.Outcome.DONE, HOLD: AuditEntry.Outcome.DONE, DENY: AuditEntry.Outcome.DENIED}
UNANSWERED = "Nobody answered in time"
USED = "One approval is for one act, and it was used."


@dataclass(frozen=True, slots=True)
class Ruling:
    """A verdict with its reason. `arguments` are those to act with, where a person changed them; `outcome` is what a
    person has done in the agent's place."""

    verdict: OutsideCall.Verdict
    reason: str = ""
    gate: str = ""
    approval: Approval | None = None
    arguments: Json | None = None
    outcome: Any = None


def standing(approval: Approval) -> Ruling:
    """How a held call stands: still held, or what its agent will be told when it asks again. Needs run and release."""
    if approval.is_open and not approval.has_expired:
        return still_held(approval)
    if approval.is_open or approval.state == Approval.State.EXPIRED:
        return _unanswered(approval)
    decision = approval.decisions.select_related("by").order_by("at").last()
    is_withdrawn = approval.state == Approval.State.SUPERSEDED and (decision and decision.answer) != Decision.Answer.ASK
    if decision is None or is_withdrawn:
        return Ruling(DENY, approval.closed_because or "This is not asked any more.", "approval", approval)
    return _decided(approval, decision)


def still_held(approval: Approval) -> Ruling:
    """Nobody has answered yet."""
    gate = str(approval.reasons[0]["gate"]) if approval.reasons else ""
    return Ruling(HOLD, approval.reason, gate, approval)


def _unanswered(approval: Approval) -> Ruling:
    """What silence means: no, unless the owner of the tool chose otherwise. Nobody has approved it either way."""
    if approval.executed != Approval.Executed.NOT_YET:
        return Ruling(DENY, USED, "approval", approval)
    if why_not := silence.objection_now(approval):
        return Ruling(DENY, f"{UNANSWERED}, and {why_not}.", "approval", approval)
    if approval.is_open:
        return still_held(approval)  # until its lapse is kept: by the tick, or when its agent asks again
    why = f"{UNANSWERED}; its owner lets it go on then. Nobody has approved it."
    return Ruling(ALLOW, why, "fail_open", approval)


def _decided(approval: Approval, decision: Decision) -> Ruling:
    who = f"{decision.past} by {decision.by.name}"
    words = ": ".join(filter(None, [decision.code, decision.reason]))
    reason = f"{who}: {words}" if words else f"{who}."
    if decision.answer == Decision.Answer.OUTCOME:
        return Ruling(DENY, reason, "approval", approval, outcome=decision.outcome)
    if decision.answer == Decision.Answer.ASK:
        return Ruling(DENY, f"{reason} Nothing was done; answer, and ask for it anew.", "approval", approval)
    if approval.state not in Approval.ALLOWING:
        return Ruling(DENY, reason, "approval", approval)
    if approval.executed != Approval.Executed.NOT_YET:
        return Ruling(DENY, approval.closed_because or USED, "approval", approval)
    if approval.has_expired:
        return Ruling(DENY, f"{reason} That was good until {approval.expires_at:%H:%M} UTC.", "approval", approval)
    return Ruling(ALLOW, reason, "approval", approval, arguments=decision.arguments)
