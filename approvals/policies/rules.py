"""Reading Cedar policies: what each rule is, and everything that is wrong with a set, rule by rule.

A rule is known by its `@id`. A forbid with `@obligation("require_approval")` asks for a person instead of refusing;
`@level`, `@votes` and `@sla_minutes` say what it takes, `@reason` is the sentence that people read, kept without its
full stop since it stands among others.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import cedarpy

from agents import errors
from agents.contracts import Json
from agents.registry.declarations import alike

APPROVAL = "require_approval"
KNOWN = ("id", "reason", "obligation", "level", "votes", "sla_minutes")
DEMANDS = ("level", "votes", "sla_minutes")
_BLANK = re.compile(r"(?:\s|//[^\n]*)*")
_POLICY = re.compile(r'(?:"(?:\\.|[^"\\])*"|//[^\n]*|/|[^;"/])*;?')
MOST = {"level": 4, "votes": 9, "sla_minutes": 60 * 24 * 31}


@dataclass(frozen=True, slots=True)
class Rule:
    """One policy. `body` is its form in Cedar's JSON; a soft one asks for a person at this level."""

    id: str
    effect: str
    body: Json
    reason: str = ""
    is_soft: bool = False
    level: int = 1
    votes: int = 1
    sla_minutes: int | None = None

    @property
    def words(self) -> str:
        """The rule as people read it: its id and why it is there."""
        return f"{self.id}: {self.reason}" if self.reason else self.id


def read(text: str) -> dict[str, Rule]:
    """The rules of a text that has been checked, by the ids that Cedar gives them."""
    return {given: _rule(body) for given, body in _bodies(text).items()}


def _bodies(text: str) -> dict[str, Json]:
    found: dict[str, Json] = json.loads(cedarpy.policies_to_json_str(text))["staticPolicies"]
    return found


def _rule(body: Json) -> Rule:
    said = body.get("annotations", {})
    minutes = said.get("sla_minutes")
    return Rule(
        id=said["id"],
        effect=body["effect"],
        body=body,
        reason=(said.get("reason") or "").strip().rstrip("."),
        is_soft=said.get("obligation") == APPROVAL,
        level=int((said.get("level") or "L1").removeprefix("L")),
        votes=int(said.get("votes") or 1),
        sla_minutes=int(minutes) if minutes else None,
    )


def check(files: Mapping[str, str], schema: cedarpy.Schema) -> None:
    """Raise `errors.Invalid` that names every bad policy: its file, its id, what is wrong with it."""
    problems: list[str] = []
    seen: dict[str, str] = {}
    for file, text in files.items():
        problems += (f"{file}: {problem}" for problem in _of_file(file, text, schema, seen))
    if not problems and not seen:
        problems = ["There is no policy in it; without one nothing would be allowed."]
    if problems:
        count = f"{len(problems)} problems:\n" if len(problems) > 1 else ""
        raise errors.Invalid(count + "\n".join(problems), field="policies")


def _of_file(file: str, text: str, schema: cedarpy.Schema, seen: dict[str, str]) -> Iterator[str]:
    if "\0" in text:
        yield f"line {text.count(chr(10), 0, text.index(chr(0))) + 1}: this is not text: it holds a NUL character."
        return
    try:
        document = json.loads(cedarpy.policies_to_json_str(text))
    except ValueError as error:
        yield from _unreadable(text) or [f"this is not Cedar: {error}."]
        return
    if document.get("templates"):
        yield "templates are not used here; write each policy out."
    bodies: dict[str, Json] = document["staticPolicies"]
    for given, body in bodies.items():
        yield from _of_policy(given, body, file, seen)
    for bad in cedarpy.validate_policies(text, schema).errors:
        named = bodies.get(bad.policy_id, {}).get("annotations", {}).get("id") or bad.policy_id
        yield f"{named}: {bad.error.replace(f'for policy `{bad.policy_id}`, ', '')}."


def _unreadable(text: str) -> list[str]:
    """Which policies are not Cedar, by their lines: the parser stops at the first and does not say where it stands."""
    found, at = [], 0
    while at < len(text):
        blank, policy = _BLANK.match(text, at), _POLICY.match(text, at)
        start, end = blank.end() if blank else at, policy.end() if policy else at
        if text[start:end].strip():
            try:
                cedarpy.policies_to_json_str(text[start:end])
            except ValueError as error:
                found.append(f"line {text.count(chr(10), 0, start) + 1}: this is not Cedar: {error}.")
        at = max(end, at + 1)
    return found


def _of_policy(given: str, body: Json, file: str, seen: dict[str, str]) -> Iterator[str]:
    said: Json = body.get("annotations", {})
    name = said.get("id")
    if not name:
        number = int(given.removeprefix("policy")) + 1
        yield f'the policy at place {number} has no @id("…"); people have to be told which rule decided.'
        name = f"place {number}"
    elif name in seen:
        yield f"{name}: this id is taken already ({seen[name]}); give each policy its own."
    seen.setdefault(name, file)
    yield from (f"{name}: {problem}" for problem in _of_annotations(said, body))


def _of_annotations(said: Json, body: Json) -> Iterator[str]:
    for key in said.keys() - set(KNOWN):
        yield f"@{key} means nothing here. {alike(key, KNOWN) or 'There are @' + ', @'.join(KNOWN) + '.'}"
    obligation = said.get("obligation")
    if obligation is None:
        if idle := [key for key in DEMANDS if key in said]:
            yield f'@{idle[0]} belongs to a forbid with @obligation("{APPROVAL}").'
        return
    if obligation != APPROVAL:
        yield f'@obligation is "{APPROVAL}", not "{obligation}".'
    if body["effect"] != "forbid":
        yield "an obligation stands on a forbid: what is permitted needs nobody."
    elif not _mentions(body.get("conditions"), "approval_level"):
        yield "no approval could ever lift it; end it with `unless { context.approval_level >= 1 }` or more."
    level = said.get("level")
    if level is not None and level not in {"L1", "L2", "L3", "L4"}:
        yield f'@level is "L1" to "L4", not "{level}".'
    for key in ("votes", "sla_minutes"):
        value = said.get(key)
        if value is not None and not (value.isascii() and value.isdigit() and 1 <= int(value) <= MOST[key]):
            yield f'@{key} is a whole number from 1 to {MOST[key]}, not "{value}".'


def _mentions(value: Any, attribute: str) -> bool:
    """Whether a condition reads this attribute."""
    if isinstance(value, dict):
        return value.get("attr") == attribute or any(_mentions(inner, attribute) for inner in value.values())
    return isinstance(value, list) and any(_mentions(inner, attribute) for inner in value)


def mentions(rules: Mapping[str, Rule], attribute: str) -> bool:
    """Whether any rule reads this attribute, so that it is worth finding out."""
    return any(_mentions(rule.body.get("conditions"), attribute) for rule in rules.values())
