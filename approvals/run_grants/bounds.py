"""What a grant covers: the very records that its first act touched, for the same customer and no more money."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from agents import errors
from agents.contracts import Action, Json
from agents.tools import catalogue, invocation
from agents.tools.catalogue import ToolSpec
from agents.tools.context import Touched
from approvals import editing, integrity
from approvals.models import Approval

SAME = ("kind", "record", "customer", "currency")


def refusal(approval: Approval) -> str:
    """Why an act is asked about each time, in a sentence; empty where it may be let through for the run."""
    if approval.kind != Approval.Kind.ACT or approval.bound.get("kind") != "tool" or approval.compensates is not None:
        return "Only an act of a tool can be let through for the rest of its run."
    if approval.is_manual:
        return "What a person does cannot be let through ahead."
    if approval.level > 1 or approval.votes_needed > 1 or approval.zone == Approval.Zone.RED:
        return "What takes more than one person, a higher level than L1, or lies in the red zone is asked each time."
    tool = editing.tool_of(approval)
    if not isinstance(tool, ToolSpec) or tool.touches is None:
        return f"{approval.tool} does not say what it touches, so nobody can tell what is the same."
    return ""


def of(approval: Approval, arguments: Json) -> list[Json]:
    """The records that these arguments touch. Raises `Conflict` where there is nothing to hold a later act against."""
    if sentence := refusal(approval):
        raise errors.Conflict(sentence, field="for_run")
    try:
        records = invocation.touched(catalogue.get(approval.tool), arguments)
    except errors.OutsideError as error:
        raise errors.Conflict(f"{approval.tool} cannot say what it touches: {error}", field="for_run") from error
    if not records:
        raise errors.Conflict(
            f"{approval.tool} touches nothing that a later act could be held against.", field="for_run"
        )
    return [_as_json(one) for one in records]


def covers(allowed: Iterable[Mapping[str, Any]], records: Iterable[Touched]) -> bool:
    """Whether every record is one of those allowed, and no amount is larger."""
    given, wanted = list(allowed), [_as_json(one) for one in records]
    return bool(wanted) and all(any(_is_within(one, other) for other in given) for one in wanted)


def basis(facts: Json) -> Json:
    """What an act has to share with the one that was approved: all that is bound but what the act itself rests on."""
    return {name: value for name, value in facts.items() if name != integrity.PRECONDITIONS}


def touched(action: Action) -> Iterable[Touched]:
    """What an act would touch; nothing where its tool cannot say it, and then it is covered by nothing."""
    try:
        return invocation.touched(catalogue.get(action.name), action.arguments)
    except (errors.Missing, errors.OutsideError):
        return ()


def _as_json(one: Touched) -> Json:
    amount = None if one.amount is None else str(one.amount)
    return {
        "kind": one.kind,
        "record": one.record,
        "customer": one.customer,
        "amount": amount,
        "currency": one.currency,
    }


def _is_within(one: Mapping[str, Any], allowed: Mapping[str, Any]) -> bool:
    if any(one[name] != allowed[name] for name in SAME):
        return False
    if one["amount"] is None or allowed["amount"] is None:
        return one["amount"] is None and allowed["amount"] is None
    return 0 <= Decimal(one["amount"]) <= Decimal(allowed["amount"])
