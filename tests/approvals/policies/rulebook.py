"""A small set of rules for the tools of tests, and actions to judge by them."""

from typing import Any
from uuid import UUID

from agents.contracts import Action, Confidence, Json, Source
from agents.models import User
from agents.registry import declarations
from approvals.policies import loaded, publishing, surface
from approvals.policies.engine import Decision, PolicyEngine
from approvals.policies.models import PolicySet
from tests import toolbox

assert toolbox  # its tools are in the catalogue
RULES = """
@id("allow-all") permit(principal, action, resource);
@id("forbid-over-1000") @reason("Nobody pays back more than 1,000.")
forbid(principal, action == Cockpit::Action::"test.refund", resource)
    when { context.input.amount_minor > 100000 };
@id("ask-red") @reason("Money moves.") @obligation("require_approval") @level("L1") @sla_minutes("30")
forbid(principal, action in [Cockpit::Action::"zone_red", Cockpit::Action::"test.refund"], resource)
    unless { context.approval_level >= 1 };
@id("ask-twice-over-500") @obligation("require_approval") @level("L2") @votes("2")
forbid(principal, action == Cockpit::Action::"test.refund", resource)
    when { context.input.amount_minor > 50000 } unless { context.approval_level >= 2 };
@id("no-personal-data-abroad") @reason("Personal data stays in the EU.")
forbid(principal, action == Cockpit::Action::"model.call", resource)
    when { context has data_class && context.data_class == "personal" }
    unless { context has region && context.region == "eu" };
@id("forbid-frozen") forbid(principal, action, resource) when { principal.frozen };
"""
NOWHERE = UUID(int=0)
REFUND: Json = {"order": "4711", "amount": "184.00"}


def action(name: str = "test.refund", *, kind: str = "tool", **fields: Any) -> Action:
    """An act of an agent, a refund of €184 unless said otherwise."""
    plain = REFUND if name == "test.refund" else {}
    values: dict[str, Any] = {
        "run_id": NOWHERE,
        "seq": 2,
        "arguments": plain,
        "agent_id": NOWHERE,
        "agent": "refunds",
        "release_id": NOWHERE,
        "release": "1.1",
        "team_id": NOWHERE,
        "environment": "live",
        "tier": 3,
        "writes": True,
        "confidence": Confidence(0.62, Source.SELF_REPORTED),
        **fields,
    }
    return Action(kind=kind, name=name, **values)


def engine(text: str = RULES, kind: type[PolicyEngine] = PolicyEngine) -> PolicyEngine:
    """These rules over the catalogue as it is."""
    return kind(text, surface.of(declarations.declared()))


def judge(text: str = RULES, *, level: int = 0, **fields: Any) -> Decision:
    """What these rules say of an act."""
    return engine(text).judge(action(**fields), team="service", level=level)


CASES: list[Json] = [
    {"name": "A refund waits", "expect": "hold", "rule": "ask-red", "tool": "test.refund", "arguments": REFUND},
    {"name": "Too much", "expect": "deny", "tool": "test.refund", "arguments": {**REFUND, "amount": "1000.01"}},
    {"name": "A note", "expect": "allow", "tool": "test.note", "arguments": {"text": "hello"}},
]


def publish(text: str = RULES, *, by: User | None = None, cases: list[Json] | None = None) -> PolicySet:
    """A version with these rules."""
    return publishing.publish({"rules.cedar": text}, CASES if cases is None else cases, by=by)


def enforce(text: str = RULES, *, cases: list[Json] | None = None) -> PolicySet:
    """A version with these rules, in force in this process at once."""
    made = publishing.enforce(publish(text, cases=cases), by=None, reason="It was tried.")
    loaded.forget()
    return made
