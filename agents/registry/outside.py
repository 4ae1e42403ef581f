"""Agents that run elsewhere: the tools their releases describe, and one of those tools as the gate knows it.

Their tools are in nobody's catalogue. Each is known here as `agent.tool`, so that two programs may both have a
`refund`, and a policy or a grant means one of them.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from jsonschema.protocols import Validator

from agents import errors
from agents.contracts import Risk
from agents.registry import declarations
from agents.registry.bundles import OUTSIDE, Json
from agents.registry.declarations import Declaration

__all__ = ["OUTSIDE", "OutsideTool", "declared", "find"]

ANYTHING: Json = {"type": "object"}
LONGEST = 120
_PLACE = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class OutsideTool:
    """A tool of an agent that runs elsewhere, as its release describes it."""

    name: str
    tier: int
    writes: bool
    says: str
    risk: Risk
    schema: Json
    answer_within_minutes: int
    fails_open: bool

    @property
    def checks(self) -> Validator:
        """The validator of its arguments."""
        return Draft202012Validator(self.schema)

    def shaped_by(self, arguments: Json) -> "OutsideTool":
        """For a form, where its owner wrote no schema: the shape that these arguments have."""
        if self.schema.get("properties"):
            return self
        return replace(
            self, schema={"type": "object", "properties": {name: shape_of(v) for name, v in arguments.items()}}
        )

    def sentence(self, arguments: Json) -> str:
        """The act in words: the owner's sentence filled in, or the call spelled out."""
        if self.says:
            return _PLACE.sub(lambda place: _brief(arguments.get(place[1], "?")), self.says)
        act = self.name.partition(".")[2].replace("_", " ").capitalize()
        given = ", ".join(f"{name.replace('_', ' ')} {_brief(value)}" for name, value in arguments.items())
        return f"{act}: {given}" if given else act


def find(bundle: Json, slug: str, tool: str) -> OutsideTool | None:
    """The tool that an agent calls by this name; None where its release describes none. The tier is the bundle's, in
    which people may have made it stricter for a time."""
    told = bundle.get("outside", {}).get(tool)
    if told is None:
        return None
    name = f"{slug}.{tool}"
    return OutsideTool(
        name=name,
        tier=bundle.get("tiers", {}).get(name, told["tier"]),
        writes=told["writes"],
        says=told["says"],
        risk=_risk(told),
        schema=told.get("arguments") or ANYTHING,
        answer_within_minutes=told["answer_within_minutes"],
        fails_open=told["fail_open"] and _risk(told) != Risk.HIGH,
    )


def find_known(bundle: Json, name: str) -> OutsideTool | None:
    """The tool by the name that it has here."""
    slug, _, tool = name.partition(".")
    return find(bundle, slug, tool)


def declared(content: Json) -> dict[str, Declaration]:
    """What a release describes, by the name it has here. Raises `errors.Invalid` for a schema that is none, or a name
    that is taken by a tool of ours."""
    slug = content["agent"]["slug"]
    return {one.name: one for one in (_declaration(slug, tool, told) for tool, told in content["outside"].items())}


def _declaration(slug: str, tool: str, told: Json) -> Declaration:
    name = f"{slug}.{tool}"
    if len(name) > LONGEST:
        raise errors.Invalid(f"[outside.{tool}] is known as {name}, which is longer than {LONGEST} characters.")
    if name in declarations.declared():
        raise errors.Invalid(f"[outside.{tool}] would be known as {name}; a tool of this installation is called that.")
    schema = told.get("arguments") or ANYTHING
    if away := next(_references(schema), ""):
        raise errors.Invalid(f"[outside.{tool}] arguments refers to {away}; write out what it means.", field="outside")
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise errors.Invalid(
            f"[outside.{tool}] arguments is no JSON Schema: {_short(error.message, 200)}.", field="outside"
        ) from error
    return Declaration(
        name=name,
        description=told["description"],
        schema=schema,
        tier=told["tier"],
        floor=told["tier"],
        writes=told["writes"],
        risk=_risk(told),
        idempotent=False,
        compensation="",
        undoable_for=None,
        timeout=None,
        stop_window=None,
        source=f"described by the release of {slug}",
        says_what_it_does=True,
        says_what_it_touches=False,
    )


def _risk(told: Json) -> Risk:
    """What its owner wrote, as a risk or as the zone that follows from one."""
    by_zone = {risk.zone: risk for risk in Risk}
    return by_zone[told["zone"]] if told.get("zone") else Risk.of(told.get("risk"), writes=told["writes"])


def is_whole(schema: Any) -> bool:
    """Whether this is a JSON schema that takes nothing from other places."""
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError:
        return False
    return isinstance(schema, dict) and not any(_references(schema))


def _references(schema: Any) -> Iterator[str]:
    """What a schema takes from other places: nothing is fetched to judge a call."""
    if isinstance(schema, list):
        for one in schema:
            yield from _references(one)
    elif isinstance(schema, dict):
        reference = schema.get("$ref") or schema.get("$dynamicRef")
        if isinstance(reference, str) and not reference.startswith("#"):
            yield reference
        for one in schema.values():
            yield from _references(one)


def shape_of(value: Any) -> Json:
    """The schema of a value as it is; lists and objects are written as JSON."""
    kinds = {bool: "boolean", int: "number", float: "number", str: "string"}
    kind = kinds.get(type(value))
    return {"type": kind} if kind else {}


def _brief(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict | list):
        return f"({len(value)})"
    return "none" if value is None else _short(str(value), 80)


def _short(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
