"""A tool's arguments as the fields of a form, and a posted form as arguments: one field each, typed by the schema.

Apart from `forms` because it knows JSON schemas and nothing of answers. What a form cannot hold (lists, objects) is
written as JSON in a field of its own. Fields are called `argument.<name>`, so that no argument can take the name of
another field of the page.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from agents import errors
from agents.contracts import Json
from agents.tools import checking
from agents.tools.checking import Shaped

PREFIX = "argument."
NULL = "null"
_SIMPLE = {"string": "text", "integer": "whole", "number": "number", "boolean": "switch"}
_FORMATS = {"date": "date"}
LONG_TEXT = 80
Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Field:
    """One argument. `kind` is text, long, whole, number, money, switch, choice, date or json; `options` are (value,
    label) of a choice, `values` what they stand for; `was` is what the agent asked for, empty where it gave none."""

    name: str
    kind: str
    value: str
    was: str
    hint: str = ""
    options: tuple[tuple[str, str], ...] = ()
    values: tuple[Any, ...] = ()
    is_required: bool = False

    @property
    def key(self) -> str:
        """What the field is called in the form."""
        return PREFIX + self.name

    @property
    def is_choice(self) -> bool:
        """Whether one of a few values is picked."""
        return bool(self.options)


def of(spec: Shaped, arguments: Json) -> list[Field]:
    """The fields for these arguments, in the order of the tool's parameters."""
    return [_field(spec, name, schema, arguments) for name, schema in spec.schema.get("properties", {}).items()]


def read(spec: Shaped, posted: Mapping[str, str], before: Json) -> Json:
    """The arguments that were posted; those left empty that the agent had not given stay away. Raises `Invalid` with
    one sentence for each field that does not fit."""
    given: Json = {}
    wrong: dict[str, str] = {}
    for field in of(spec, before):
        if field.key not in posted:
            if field.name in before:
                given[field.name] = before[field.name]
            continue
        text = posted[field.key].replace("\r\n", "\n")
        if text == field.value and field.name in before:
            given[field.name] = before[field.name]  # untouched: as it was, to the last digit
            continue
        if not text.strip() and field.name not in before and not field.is_required:
            continue
        try:
            given[field.name] = _value(field, text, before.get(field.name))
        except ValueError as error:
            wrong[field.name] = f"{field.name} is not JSON: {error}."
    wrong = {**checking.problems(spec, {name: one for name, one in given.items() if name not in wrong}), **wrong}
    if wrong:
        raise errors.Invalid(" ".join(_sentences(wrong)), field=PREFIX + next(iter(wrong)))
    return given


def _sentences(wrong: Mapping[str, str]) -> Iterator[str]:
    for sentence in wrong.values():
        yield sentence[:1].upper() + sentence[1:]


def _field(spec: Shaped, name: str, schema: Schema, arguments: Json) -> Field:
    plain, may_be_null = _resolved(schema, spec.schema)
    kind, options = _kind(plain)
    is_given = name in arguments
    value = arguments[name] if is_given else schema.get("default")
    written = _written(value, kind)
    if kind == "text" and (len(written) > LONG_TEXT or "\n" in written):
        kind = "long"
    if options and (may_be_null or not is_given):
        options = (("", "nothing"), *options)
    hint = plain.get("description") or schema.get("description") or ""
    was = _written(arguments[name], kind) or "empty" if is_given else "not given"
    is_required = name in spec.schema.get("required", ())
    return Field(name, kind, written, was, hint, options, tuple(plain.get("enum", ())), is_required)


def _resolved(schema: Schema, root: Schema) -> tuple[Schema, bool]:
    """The schema behind references and behind "or null", and whether null is one of its values."""
    if reference := schema.get("$ref"):
        return _resolved(root.get("$defs", {}).get(reference.rpartition("/")[2], {}), root)
    options = schema.get("anyOf") or schema.get("oneOf") or ()
    solid = [one for one in options if one.get("type") != NULL]
    if len(solid) == 1:
        return _resolved(solid[0], root)[0], len(options) > 1
    return schema, False


def _kind(schema: Schema) -> tuple[str, tuple[tuple[str, str], ...]]:
    """How a value is entered, and between which values one chooses."""
    if isinstance(among := schema.get("enum"), list):
        return "choice", tuple((_written(one, "choice"), _written(one, "choice")) for one in among)
    if schema.get("type") == checking.AMOUNT:
        return "money", ()
    kind = _SIMPLE.get(str(schema.get("type")), "json")
    if kind == "switch":
        return kind, (("true", "yes"), ("false", "no"))
    return (_FORMATS.get(schema.get("format", ""), kind) if kind == "text" else kind), ()


def _written(value: Any, kind: str) -> str:
    if value is None:
        return ""
    if isinstance(value, str) and kind != "json":
        return value
    return json.dumps(value, indent=2 if kind == "json" else None, ensure_ascii=False)


def _value(field: Field, text: str, before: Any) -> Any:
    """What a field says. What is no number where one is wanted stays text: the schema then says what it takes."""
    if field.kind in ("text", "long"):
        return text
    text = text.strip()
    if not text:
        return None if field.kind != "money" or before is None else text
    if field.kind == "money":
        return text
    if field.kind == "json":
        return json.loads(text, parse_constant=_refuse)
    if field.kind == "choice":
        return next((one for one in field.values if _written(one, "choice") == text), text)
    try:
        value = json.loads(text, parse_constant=_refuse)
    except ValueError:
        return text
    return value if isinstance(value, int | float | bool) else text


def _refuse(constant: str) -> None:
    """Python reads NaN and Infinity, which are not JSON."""
    raise ValueError(f"{constant} is not a number in JSON")
