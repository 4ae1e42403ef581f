"""Which rules can concern an action of an agent, by their scope alone: who, what and where they name.

A rule in scope may still depend on facts (an amount, a confidence); one out of scope can never apply.
"""

from agents.contracts import Json
from approvals.policies.requests import Request
from approvals.policies.rules import Rule
from approvals.policies.surface import NAMESPACE


def covers(rule: Rule, request: Request) -> bool:
    """Whether a rule can apply to this question, whatever its facts."""
    who, where = request.who.agent, request.who.environment
    return (
        _names(rule.body["principal"], f"{NAMESPACE}::Agent", {who})
        and _names(rule.body["action"], f"{NAMESPACE}::Action", {request.action, f"zone_{request.zone}"})
        and _names(rule.body["resource"], f"{NAMESPACE}::Workspace", {where})
    )


def depends(rule: Rule) -> bool:
    """Whether it also asks for facts."""
    return bool(rule.body.get("conditions"))


def _names(scope: Json, kind: str, ids: set[str]) -> bool:
    op = scope["op"]
    if op == "All":
        return True
    if op == "is":
        return bool(scope["entity_type"] == kind) and ("in" not in scope or _within(scope["in"], ids))
    return _within(scope, ids)


def _within(scope: Json, ids: set[str]) -> bool:
    entities = scope.get("entities") or [scope.get("entity") or {}]
    return any(one.get("id") in ids for one in entities)
