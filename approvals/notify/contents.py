"""What a message says of an approval: the title in words, and the facts for programs, as they were then.

Arguments are left out: a message leaves the cockpit, and what an act is about may be nobody else's business.
"""

from typing import Any

from agents.wire import say_moment
from approvals.models import Decision
from approvals.notify.models import About, Fact

LONGEST = 300


def title(fact: Fact, decision: Decision | None) -> str:
    """One line: what happened to what."""
    approval = fact.approval
    what = {
        About.OPENED: "Decision needed",
        About.ESCALATED: f"Escalated to L{fact.level}",
        About.DELEGATED: "Handed to you",
        About.EXPIRED: "Expired without a decision",
        About.SUPERSEDED: "No longer needed",
        About.DECIDED: str(decision) if decision else approval.get_state_display(),
    }[About(fact.about)]
    text = f"{what}: {approval}"
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def content(fact: Fact, decision: Decision | None) -> dict[str, Any]:
    """The fact for a program."""
    approval = fact.approval
    return {
        "approval": str(approval.pk),
        "kind": approval.kind,
        "state": approval.state,
        "says": approval.says or approval.tool,
        "tool": approval.tool,
        "tier": approval.tier,
        "level": approval.level,
        "zone": approval.zone,
        "agent": approval.agent.slug,
        "team": approval.team.slug,
        "run": str(approval.run_id),
        "seq": approval.seq,
        "reasons": approval.reasons,
        "requested_at": say_moment(approval.requested_at),
        "due_at": say_moment(approval.due_at),
        "escalated_to": fact.level or None,
        "closed_because": approval.closed_because or None,
        "decision": None if decision is None else _decision(decision),
    }


def _decision(decision: Decision) -> dict[str, Any]:
    return {
        "answer": decision.answer,
        "by": decision.by.username,
        "reason": decision.reason or None,
        "at": say_moment(decision.at),
    }
