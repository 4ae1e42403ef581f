"""What policies can speak about: every action there is and the facts of each, as a Cedar schema.

Made from the tool catalogue when a policy set is published and kept with it, so that a version means the same for ever
and a mistyped name is found before anybody relies on it. Cedar knows no fractions: numbers that may have some become
`<name>_minor`, whole hundredths, rounded away from zero so that no limit is slipped under.
"""

import json
from collections.abc import Iterable, Mapping
from decimal import ROUND_UP, Decimal
from typing import Any

from agents import errors
from agents.contracts import Json, Risk
from agents.registry.declarations import Declaration
from agents.registry.outside import OutsideTool

NAMESPACE = "Cockpit"
ZONES = tuple(risk.zone for risk in Risk)
MODEL, DELEGATE, UNLISTED, CANARY = "model.call", "delegate", "unlisted", "canary.act"
HUNDREDTHS = "Hundredths"
LARGEST = 2**63 - 1
SIMPLE = {"integer": "Long", "boolean": "Bool", "string": "String", "number": HUNDREDTHS}

ENTITIES: Json = {
    "Agent": {
        "owner_team": "String",
        "autonomy_tier": "Long",
        "version": "String",
        "frozen": "Bool",
    },
    "Workspace": {"environment": "String", "team": "String"},
}
FACTS: Json = {
    "approval_level": "Long",
    "tool": "String",
    "tier": "Long",
    "writes": "Bool",
    "attempt": "Long",
    "takes_back": "Bool",
    "confidence_source": "String",
    "confidence_bp?": "Long",
    "amount_minor?": "Long",
    "currency?": "String",
    "conflicting_results?": "Bool",
    "abnormal_latency?": "Bool",
    "customer_segment?": "String",
    "data_class?": "String",
    "cost_micros?": "Long",
}
"""What is known of every action. With `?`: absent when nobody knows, so that a rule has to say what it then means."""
MODEL_FACTS: Json = {**FACTS, "provider": "String", "model": "String", "region?": "String"}


RESERVED = frozenset(
    {MODEL, DELEGATE, CANARY, *(f"zone_{zone}" for zone in ZONES), *(f"{UNLISTED}.{zone}" for zone in ZONES)}
)


def of(declared: Mapping[str, Declaration], elsewhere: Iterable[OutsideTool] = ()) -> Json:
    """The tools of a catalogue with their zones and inputs, and those that agents elsewhere describe: what a policy set
    keeps."""
    if taken := sorted(RESERVED & declared.keys()):
        raise errors.Invalid(f"A tool may not be called {taken[0]}: policies mean something else by it. Rename it.")
    tools = {
        one.name: _tool(one)
        for one in elsewhere
        if one.name not in RESERVED  # no one team's release keeps all of them from publishing: it stays unlisted
    }
    tools |= {name: _tool(one) for name, one in declared.items()}
    return {"tools": dict(sorted(tools.items()))}


def _tool(one: Declaration | OutsideTool) -> Json:
    return {"zone": one.risk.zone, "tier": one.tier, "writes": one.writes, "input": _inputs(one.schema)}


def _inputs(schema: Json) -> Json:
    """The arguments a rule can name, by attribute: {type, argument, required}. What Cedar cannot hold is left out."""
    found: Json = {}
    required = set(schema.get("required", ()))
    for name, one in schema.get("properties", {}).items():
        if (kind := _type(one)) and not name.startswith("__"):  # which Cedar keeps for itself
            attribute = f"{name}_minor" if kind == HUNDREDTHS else name
            is_sure = name in required and not _may_be_null(one)
            found.setdefault(attribute, {"type": kind, "argument": name, "required": is_sure})
    return dict(sorted(found.items()))


def _variants(one: Json | bool) -> list[Json]:
    """What a value may be, one by one: JSON Schema writes a choice as `anyOf` or as several types, and anything as
    `true`."""
    if isinstance(one, bool):
        return [{}]
    if "anyOf" in one:
        return [variant for part in one["anyOf"] for variant in _variants(part)]
    kinds = one.get("type")
    return [{**one, "type": kind} for kind in kinds] if isinstance(kinds, list) else [one]


def _may_be_null(one: Json | bool) -> bool:
    return any(variant.get("type") == "null" for variant in _variants(one))


def _type(one: Json | bool) -> str | None:
    kinds = {_simple(variant) for variant in _variants(one) if variant.get("type") != "null"}
    if HUNDREDTHS in kinds and kinds <= {HUNDREDTHS, "String", "Long"}:
        return HUNDREDTHS  # a decimal may be written as a number or as a text
    return kinds.pop() if len(kinds) == 1 else None


def _simple(one: Json) -> str | None:
    if one.get("type") != "array":
        return SIMPLE.get(str(one.get("type")))
    item = _type(one.get("items") or {})
    return f"Set:{item}" if item in {"Long", "Bool", "String"} else None


def to_cedar(surface: Json) -> str:
    """The schema in Cedar's JSON form."""
    actions: Json = {f"zone_{zone}": {} for zone in ZONES} | {"zone_canary": {}}
    for name, tool in surface["tools"].items():
        given = {
            attribute: _cedar_type(one["type"]) | {"required": one["required"]}
            for attribute, one in tool["input"].items()
        }
        actions[name] = _action(tool["zone"], _record(FACTS, input={"type": "Record", "attributes": given}))
    for zone in ZONES:
        actions[f"{UNLISTED}.{zone}"] = _action(zone, _record(FACTS))
    actions[MODEL] = _action(Risk.LOW.zone, _record(MODEL_FACTS))
    actions[DELEGATE] = _action(Risk.MEDIUM.zone, _record(FACTS))
    actions[CANARY] = _action("canary", _record(FACTS))
    entities = {name: {"shape": _record(attributes)} for name, attributes in ENTITIES.items()}
    return json.dumps({NAMESPACE: {"entityTypes": entities, "actions": actions}})


def _action(zone: str, context: Json) -> Json:
    applies = {"principalTypes": ["Agent"], "resourceTypes": ["Workspace"], "context": context}
    return {"memberOf": [{"id": f"zone_{zone}"}], "appliesTo": applies}


def _record(attributes: Json, **more: Json) -> Json:
    known = {
        name.rstrip("?"): _cedar_type(kind) | {"required": not name.endswith("?")} for name, kind in attributes.items()
    }
    return {"type": "Record", "attributes": known | more}


def _cedar_type(kind: str) -> Json:
    if kind.startswith("Set:"):
        return {"type": "Set", "element": _cedar_type(kind.removeprefix("Set:"))}
    names = {"Long": "Long", HUNDREDTHS: "Long", "String": "String", "Bool": "Boolean"}
    return {"type": names[kind]}


KINDS: dict[str, tuple[type, str]] = {
    "String": (str, "no text"),
    "Long": (int, "no whole number"),
    "Bool": (bool, "neither true nor false"),
    "Set": (list, "no list"),
}
"""What the value of an argument is, by its type here, and what to say of one that is not."""


def given(tool: Json, arguments: Json) -> Json:
    """The arguments of a call as its rules read them; what is null is absent. Raises `ValueError` for what they cannot
    read, in words that name the argument and not its value."""
    found: Json = {}
    for attribute, one in tool["input"].items():
        value = arguments.get(one["argument"])
        if value is not None:
            found[attribute] = _read(one, value)
    return found


def _read(one: Json, value: Any) -> Any:
    if one["type"] == HUNDREDTHS:
        try:
            return minor(value)
        except (ArithmeticError, TypeError) as error:
            what = "too large" if isinstance(error, OverflowError) else "no number"
            raise ValueError(f"{one['argument']} is {what}") from error
    kind, what = KINDS[one["type"].partition(":")[0]]
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"{one['argument']} is {what}")
    return value


def minor(value: Any) -> int:
    """Whole hundredths, away from zero: a limit of 100.00 does not cover 100.001. Raises for what is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise TypeError(f"{value!r} is no number")
    hundredths = Decimal(str(value).strip()) * 100
    if not hundredths.is_finite() or abs(hundredths) > LARGEST:
        raise OverflowError(f"{value} is too large to be judged")
    return int(hundredths.to_integral_value(rounding=ROUND_UP))
