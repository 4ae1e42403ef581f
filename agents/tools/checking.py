"""Whether arguments fit a tool, and if not, one sentence that a model or a person can act on.

The fast way asks the tool's compiled types, strictly, as JSON; only what they refuse is put to the JSON schema, which
may know better (5.0 is an integer) and can say what is wrong.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from jsonschema import ValidationError
from jsonschema.exceptions import best_match
from jsonschema.protocols import Validator
from pydantic import ValidationError as TypedError

from agents import errors
from agents.registry.declarations import alike
from agents.tools.catalogue import ToolSpec

_KINDS = {
    "string": "text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}
_FORMATS = {
    "date": "a date such as 2026-03-31",
    "date-time": "a moment such as 2026-03-31T09:30:00Z",
    "time": "a time such as 09:30:00",
    "duration": "a duration such as PT2H",
    "uuid": "a UUID",
    "email": "an e-mail address",
}
AMOUNT = ["number", "string"]
"""The type of an exact amount, which is written as a number or as text: see schemas._Schema."""
_BOUNDS = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "exclusiveMinimum": "more than {}",
    "exclusiveMaximum": "less than {}",
    "multipleOf": "a multiple of {}",
    "minLength": "at least {} characters long",
    "maxLength": "at most {} characters long",
    "minItems": "a list of at least {}",
    "maxItems": "a list of at most {}",
    "pattern": "text that matches {}",
}


def validate(spec: ToolSpec, arguments: Any) -> dict[str, Any]:
    """The arguments with defaults filled in, still JSON. Raises `errors.Invalid` naming the argument."""
    if not isinstance(arguments, dict):
        raise errors.Invalid(f"{spec.name} takes its arguments as an object, not {shown(arguments)}.")
    try:
        spec.typed.validate_json(json.dumps(arguments), strict=True)
    except (TypedError, TypeError, ValueError):
        _refuse(spec, arguments)
    return {**spec.defaults, **arguments}


class Shaped(Protocol):
    """Whatever has arguments with a schema: a tool of ours, or one of an agent elsewhere."""

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON schema of the arguments."""
        ...

    @property
    def checks(self) -> Validator:
        """The validator of that schema."""
        ...


def problems(spec: Shaped, arguments: dict[str, Any]) -> dict[str, str]:
    """What is wrong with each argument, a sentence each by its name; empty when all fit. For forms, which show all of
    it at once; `validate` refuses with one."""
    found: dict[str, list[ValidationError]] = {}
    for error in spec.checks.iter_errors(arguments):
        found.setdefault(_about(error), []).append(error)
    return {name: _sentence(_first(errors), spec.schema) for name, errors in found.items()}


def _about(error: ValidationError) -> str:
    """The argument that an error is about; a missing one is named by what misses it."""
    if error.absolute_path:
        return str(error.absolute_path[0])
    if error.validator == "required":
        wanted: Any = error.validator_value
        given: Any = error.instance
        return str(next(name for name in wanted if name not in given))
    return ""


def _first(errors: list[ValidationError]) -> ValidationError:
    best = best_match(iter(errors))
    return best or errors[0]


def _refuse(spec: ToolSpec, arguments: dict[str, Any]) -> None:
    """Say what is wrong, unless the schema finds that nothing is."""
    if error := best_match(spec.checks.iter_errors(arguments)):
        raise errors.Invalid(f"{spec.name}: {_sentence(error, spec.schema)}", field=_path(error.absolute_path))
    try:
        spec.typed.validate_python(arguments)
    except TypedError as error:
        first = error.errors(include_url=False)[0]
        where, given = _path(first["loc"]), shown(first["input"])
        wanted = _wanted(_schema_at(spec.schema, first["loc"]), spec.schema)
        plain = first["msg"][:1].lower() + first["msg"][1:]
        words = f"it takes {wanted}" if first["type"].endswith(("_parsing", "_type")) and wanted else plain
        raise errors.Invalid(f"{spec.name}: {where} is {given}; {words}.", field=where) from None


def _sentence(error: ValidationError, root: dict[str, Any]) -> str:
    where = _path(error.absolute_path) or "the arguments"
    match error.validator:
        case "required":
            return _missing(error, root)
        case "additionalProperties":
            return _unknown(error)
        case "enum" | "const":
            allowed: Any = error.validator_value if error.validator == "enum" else [error.validator_value]
            return f"{where} is {shown(error.instance)}; it takes {_either(shown(one) for one in allowed)}."
        case "pattern" if isinstance(error.schema, Mapping) and error.schema.get("type") == AMOUNT:
            return f"{where} is {shown(error.instance)}; it takes an amount such as 92.00."
        case word if word in _BOUNDS:
            return f"{where} is {shown(error.instance)}; it must be {_BOUNDS[word].format(error.validator_value)}."
        case _:
            schema = _schema_at(root, error.absolute_path) or error.schema
            wanted = _wanted(schema, root) or "something else"
            return f"{where} is {shown(error.instance)}; it takes {wanted}."


def _missing(error: ValidationError, root: dict[str, Any]) -> str:
    """Which argument is not there; the validator names it only in its message."""
    assert isinstance(error.validator_value, list)
    assert isinstance(error.instance, dict)
    name = next(name for name in error.validator_value if name not in error.instance)
    wanted = _wanted(error.schema.get("properties", {}).get(name, {}), root)  # type: ignore[union-attr]  # not a bool here
    within = f" in {_path(error.absolute_path)}" if error.absolute_path else ""
    return f"{name} is missing{within}; it takes {wanted or 'a value'}."


def _unknown(error: ValidationError) -> str:
    known = list(error.schema.get("properties", {}))  # type: ignore[union-attr]  # not a bool here
    assert isinstance(error.instance, dict)
    name = next(name for name in error.instance if name not in known)
    within = f" in {_path(error.absolute_path)}" if error.absolute_path else ""
    hint = alike(name, known) or (f"There are {', '.join(known)}." if known else "It takes none.")
    return f"there is no argument {name!r}{within}. {hint}"


def _wanted(schema: Any, root: dict[str, Any]) -> str:
    """A schema in words: `a number or text`."""
    if not isinstance(schema, dict):
        return ""
    if reference := schema.get("$ref"):
        return _wanted(root.get("$defs", {}).get(reference.rpartition("/")[2]), root)
    if options := schema.get("anyOf") or schema.get("oneOf"):
        return _either(filter(None, (_wanted(option, root) for option in options)))
    if "enum" in schema:
        return _either(shown(one) for one in schema["enum"])
    if "const" in schema:
        return shown(schema["const"])
    if words := _FORMATS.get(schema.get("format", "")):
        return words
    kinds = schema.get("type", [])
    if kinds == AMOUNT:
        return "a number"
    return _either(_KINDS[kind] for kind in ([kinds] if isinstance(kinds, str) else kinds))


def _schema_at(schema: Any, path: Iterable[str | int]) -> dict[str, Any] | None:
    """The part of a schema that rules one place in the arguments, references followed; None where choices branch."""
    root = schema
    for key in path:
        if reference := schema.get("$ref"):
            schema = root.get("$defs", {}).get(reference.rpartition("/")[2], {})
        found = schema.get("items") if isinstance(key, int) else schema.get("properties", {}).get(key)
        if not isinstance(found, dict):
            return None
        schema = found
    return schema if isinstance(schema, dict) else None


def _path(parts: Iterable[str | int]) -> str:
    """`lines[0].sku`."""
    path = ""
    for part in parts:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path


def _either(words: Iterable[str]) -> str:
    *first, last = list(dict.fromkeys(words)) or [""]
    return f"{', '.join(first)} or {last}" if first else last


def shown(value: Any, limit: int = 60) -> str:
    """A value as it was sent, cut where it gets long."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
