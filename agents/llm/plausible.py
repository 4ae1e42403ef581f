"""Arguments a tool would plausibly be called with, made from its JSON Schema and the words of an objective.

For the simulated model when nobody has written a play for it: enough to pass validation, nothing more.
"""

import re
from collections.abc import Iterator
from typing import Any

from agents.contracts import Json
from agents.llm.chance import Chance

DAY = "2026-01-15"
FORMATS = {"date": DAY, "date-time": f"{DAY}T09:00:00Z", "time": "09:00:00Z", "email": "someone@example.com"}
REFERENCE = re.compile(r"\b(?=\w*\d)[\w-]*\w\b")
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w.])")
NAMES_A_RECORD = re.compile(r"(?:^|_)(?:id|ref|reference|number|no|code|key|sku)$", re.IGNORECASE)


def arguments(schema: Json, objective: str, chance: Chance) -> Json:
    """A value for each required property of an object schema."""
    return _Guess(schema, objective, chance).of_object(schema)


class _Guess:
    """One set of arguments; numbers found in the objective are used in the order they stand there."""

    def __init__(self, schema: Json, objective: str, chance: Chance) -> None:
        self._definitions: Json = schema.get("$defs", {})
        self._objective = objective
        self._numbers: Iterator[float] = (float(found) for found in NUMBER.findall(objective))
        self._references: Iterator[str] = iter(REFERENCE.findall(objective))
        self._chance = chance

    def of_object(self, schema: Json) -> Json:
        properties = schema.get("properties", {})
        return {name: self.of(properties.get(name, {}), name) for name in schema.get("required", ())}

    def of(self, schema: Json, name: str) -> Any:
        schema = self._plain(schema)
        for given in ("const", "default"):
            if given in schema:
                return schema[given]
        if options := schema.get("enum") or schema.get("examples"):
            return self._chance.one_of(options, name)
        match schema.get("type"):
            case "object":
                return self.of_object(schema)
            case "array":
                return [self.of(schema.get("items", {}), name) for _ in range(max(1, schema.get("minItems", 1)))]
            case "boolean":
                return False
            case "null":
                return None
            case "integer" | "number":
                return self._number(schema)
        return self._text(schema, name)

    def _plain(self, schema: Json) -> Json:
        """Follow references and take the first choice that is not null, as far as a few turns lead."""
        for _ in range(8):
            if reference := schema.get("$ref"):
                schema = self._definitions.get(str(reference).rsplit("/", 1)[-1], {})
            elif choices := schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf"):
                schema = next((choice for choice in choices if choice.get("type") != "null"), {})
            else:
                break
        if isinstance(schema.get("type"), list):
            schema = {**schema, "type": next((kind for kind in schema["type"] if kind != "null"), "null")}
        return schema

    def _number(self, schema: Json) -> float:
        low, high = schema.get("minimum", schema.get("exclusiveMinimum", 0) + 1), schema.get("maximum")
        value = next((found for found in self._numbers if found >= low and (high is None or found <= high)), low)
        return int(value) if schema["type"] == "integer" or float(value).is_integer() else value

    def _text(self, schema: Json, name: str) -> str:
        if known := FORMATS.get(schema.get("format", "")):
            return known
        text = self._objective.strip() or name
        if NAMES_A_RECORD.search(name):
            text = next(self._references, text)
        return text[: schema.get("maxLength", 200)].ljust(schema.get("minLength", 0), ".")
