"""A function's parameters as a JSON schema for models and reviewers, and as a plan that turns JSON into typed values.

Both are made once, when a tool is declared. Apart from the catalogue because it knows pydantic and nothing of tools.
"""

import inspect
import re
from collections.abc import Callable, Container
from dataclasses import dataclass, fields, is_dataclass
from decimal import Decimal
from typing import Annotated, Any, NotRequired, Required, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import SchemaValidator, core_schema, to_jsonable_python
from typing_extensions import TypedDict, is_typeddict

from agents.tools.context import ToolContext

_DECIMAL = r"^-?\d+(\.\d+)?$"
_DESCRIBED = re.compile(r"^\s*(?::param\s+)?(\w+)\s*(?:\([^)]*\))?:\s+(\S.*)$")


class _Schema(GenerateJsonSchema):
    """Pydantic's own, except that an exact amount is one type that may be written as a number or as text."""

    def decimal_schema(self, schema: core_schema.DecimalSchema) -> JsonSchemaValue:
        """`24.5` and `"24.50"` both do."""
        bounds = {name: float(schema[name]) for name in ("ge", "gt", "le", "lt") if name in schema}
        number = self.float_schema(core_schema.float_schema(**bounds))  # type: ignore[arg-type]  # only bounds are given
        return {**number, "type": ["number", "string"], "pattern": _DECIMAL}


@dataclass(frozen=True)
class Parameters:
    """What a function takes. `defaults` are JSON; `typed` turns JSON arguments into what the function expects."""

    schema: dict[str, Any]
    defaults: dict[str, Any]
    typed: SchemaValidator
    takes_context: bool


def parameters(function: Callable[..., Any], *, title: str) -> Parameters:
    """Read a signature. Every parameter needs a type; `*args` and `**kwargs` say too little and are refused."""
    hints = get_type_hints(function, include_extras=True)
    taken = list(inspect.signature(function).parameters.values())
    asks = takes_context(function)
    if asks:
        taken = taken[1:]
    documented = described(function.__doc__ or "", [one.name for one in taken])
    shown: dict[str, Any] = {}
    defaults: dict[str, Any] = {}
    for one in taken:
        hint = _hint(one, hints, documented.get(one.name), title)
        if one.default is one.empty:
            shown[one.name] = Required[hint]
        else:
            shown[one.name] = NotRequired[hint]
            defaults[one.name] = to_jsonable_python(one.default)
    # A TypedDict and not a model: a parameter may then be called `copy`, `schema` or `model_id`.
    make: Any = TypedDict  # type checkers want its fields written out
    shape = make(title, shown)
    shape.__pydantic_config__ = ConfigDict(extra="forbid")
    adapter: TypeAdapter[Any] = TypeAdapter(shape)
    schema = _untitled(adapter.json_schema(schema_generator=_Schema))
    schema.pop("description", None)
    for name, value in defaults.items():
        schema["properties"][name]["default"] = value
    return Parameters(schema, defaults, _plan(adapter), asks)


def takes_context(function: Callable[..., Any]) -> bool:
    """Whether its first parameter is the `ToolContext`."""
    first = next(iter(inspect.signature(function).parameters), "")
    return first == "context" or (bool(first) and get_type_hints(function).get(first) is ToolContext)


def result_names(function: Callable[..., Any]) -> frozenset[str] | None:
    """The names in the object a function says it returns: None for a plain dict, empty for what is no object."""
    hint = get_type_hints(function).get("return", Any)
    if is_dataclass(hint):
        return frozenset(one.name for one in fields(hint))
    if is_typeddict(hint):
        return frozenset(hint.__annotations__)
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return frozenset(hint.model_fields)
    is_no_object = hint in (type(None), str, int, float, bool, Decimal) or get_origin(hint) in (list, tuple, set)
    return frozenset() if is_no_object else None


def _plan(adapter: TypeAdapter[Any]) -> SchemaValidator:
    """The compiled validator itself: a third of the cost of going through the adapter."""
    compiled = adapter.validator
    assert isinstance(compiled, SchemaValidator)
    return compiled


def _hint(one: inspect.Parameter, hints: dict[str, Any], words: str | None, title: str) -> Any:
    """The type of a parameter, with its description: a text in `Annotated`, or its line in the docstring."""
    if one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD, one.POSITIONAL_ONLY):
        raise TypeError(f"{title}: the parameter {one} cannot be described to a model; give every argument a name")
    if one.name not in hints:
        raise TypeError(f"{title}: the parameter {one.name} has no type")
    hint = hints[one.name]
    if get_origin(hint) is Annotated:
        words = next((extra for extra in get_args(hint)[1:] if isinstance(extra, str)), words)
    return Annotated[hint, Field(description=words)] if words else hint


def described(docstring: str, names: list[str]) -> dict[str, str]:
    """The lines `name: what it is` of a docstring, for names that are parameters."""
    found = (match for line in docstring.splitlines() if (match := _DESCRIBED.match(line)))
    return {match[1]: match[2].strip() for match in found if match[1] in names}


def summary(docstring: str, names: Container[str]) -> str:
    """A docstring up to the lines about its parameters, which are called `names`: what the tool does."""
    kept = []
    for line in inspect.cleandoc(docstring).splitlines():
        match = _DESCRIBED.match(line)
        if (match and match[1] in names) or line.strip().lower() in {"args:", "arguments:", "parameters:"}:
            break
        kept.append(line)
    return " ".join(" ".join(kept).split())


def _untitled(schema: Any) -> Any:
    """Without the titles pydantic makes of names: noise in every prompt. A property called `title` stays."""
    if isinstance(schema, list):
        return [_untitled(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {key: value for key, value in schema.items() if key != "title" or not isinstance(value, str)}
    return {
        key: {name: _untitled(part) for name, part in value.items()}
        if key in {"properties", "$defs"} and isinstance(value, dict)
        else value
        if key in {"default", "enum", "const", "examples"}
        else _untitled(value)
        for key, value in kept.items()
    }
