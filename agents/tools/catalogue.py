"""The decorator that makes a function a tool, and looking tools up by name.

    @tool("payments.refund", tier=3, writes=True, idempotent=True, compensation="payments.recharge",
          undoable_for=timedelta(hours=24), says=say_refund, touches=touch_order)
    def refund(context: ToolContext, order: str, amount: Decimal) -> dict[str, Any]: ...

`says`, `touches`, `preview` and `preconditions` take the arguments they name, typed like the tool's own.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from jsonschema import Draft202012Validator
from jsonschema.protocols import Validator
from pydantic_core import SchemaValidator

from agents.contracts import Risk
from agents.registry import declarations
from agents.registry.declarations import Declaration
from agents.tools import schemas
from agents.tools.context import Touched

Function = TypeVar("Function", bound=Callable[..., Any])
Says = Callable[..., str]
Touches = Callable[..., Sequence[Touched]]
Preview = Callable[..., Sequence[Mapping[str, Any]]]
Preconditions = Callable[..., Mapping[str, Any]]
TIMEOUT = timedelta(seconds=20)
SPANS = ("undoable_for", "stop_window", "timeout")


@dataclass(frozen=True, kw_only=True)
class ToolSpec(Declaration):
    """A declared tool, ready to use. `says`, `touches`, `preview` and `preconditions` take JSON arguments by name, as
    they come.

    `timeout` None is for computation that nothing can delay: it runs in the caller's own thread.
    """

    function: Callable[..., Any]
    is_async: bool
    takes_context: bool
    defaults: Mapping[str, Any]
    typed: SchemaValidator
    checks: Validator
    says: Says | None = None
    touches: Touches | None = None
    preview: Preview | None = None
    preconditions: Preconditions | None = None
    sandbox: Callable[..., Any] | None = None


def tool(
    name: str,
    *,
    tier: int,
    floor: int | None = None,
    writes: bool = False,
    risk: str | None = None,
    idempotent: bool = False,
    compensation: str = "",
    undoable_for: timedelta | None = None,
    stop_window: timedelta | None = None,
    timeout: timedelta | None = TIMEOUT,
    says: Says | None = None,
    touches: Touches | None = None,
    preview: Preview | None = None,
    preconditions: Preconditions | None = None,
    sandbox: Callable[..., Any] | None = None,
) -> Callable[[Function], Function]:
    """Declare a function as a tool; the function itself stays as it is.

    `tier` 1–4 is how far an agent may go alone; a release may be stricter, and milder down to `floor`. At tier 2 an act
    is announced for the length of `stop_window` before it happens, and anybody who steers or decides may stop it.
    `risk` is low, medium or high: high asks a person each time, at any tier. `preconditions` returns what has to be as
    it was when a person let an act through, {name: value}: it is looked up when they are asked and again when the act
    is to happen. `sandbox` takes what the tool takes and is called in its place where acts are only simulated.

    Raises `TypeError` for a signature or a time that can be none, `errors.Conflict` for a name that is taken.
    """
    told = {"says": says, "touches": touches, "preview": preview, "preconditions": preconditions}
    terms = {
        "tier": tier, "floor": tier if floor is None else floor, "writes": writes, "idempotent": idempotent,
        "compensation": compensation, "undoable_for": undoable_for, "stop_window": stop_window, "timeout": timeout,
        "sandbox": sandbox, "risk": Risk.of(risk, writes=writes),
    }  # fmt: skip

    def declare(function: Function) -> Function:
        declarations.declare(_spec(name, function, told, terms))
        return function

    return declare


def _check_spans(name: str, terms: Mapping[str, Any]) -> None:
    """Where the mistake was made, and not where somebody first needs the time."""
    for key in SPANS:
        span = terms[key]
        if span is not None and not (isinstance(span, timedelta) and span > timedelta(0)):
            raise TypeError(f"{name}: {key} is {span!r}; it takes a length of time, such as timedelta(seconds=20)")


def _spec(
    name: str, function: Callable[..., Any], told: Mapping[str, Callable[..., Any] | None], terms: Mapping[str, Any]
) -> ToolSpec:
    """Everything about a tool that can be worked out once: its schema, the plan for its arguments, where it stands."""
    _check_spans(name, terms)
    taken = schemas.parameters(function, title=name)
    doors: dict[str, Any] = {door: _typed(one, taken.typed) for door, one in told.items()}
    return ToolSpec(
        name=name,
        description=schemas.summary(function.__doc__ or "", taken.schema["properties"]),
        schema=taken.schema,
        source=_source(function),
        says_what_it_does=told["says"] is not None,
        says_what_it_touches=told["touches"] is not None,
        result_names=schemas.result_names(function),
        function=function,
        is_async=inspect.iscoroutinefunction(function),
        takes_context=taken.takes_context,
        defaults=taken.defaults,
        typed=taken.typed,
        checks=Draft202012Validator(taken.schema, format_checker=Draft202012Validator.FORMAT_CHECKER),
        **doors,
        **terms,
    )


def get(name: str) -> ToolSpec:
    """The tool of that name; raises `errors.Missing`, with names that look like it."""
    spec = declarations.find(name)
    assert isinstance(spec, ToolSpec)
    return spec


def load() -> None:
    """Import every tool module, once per process; raises `errors.Invalid` with file and line of what is broken."""
    declarations.load()


def _typed(function: Callable[..., Any] | None, typed: SchemaValidator) -> Callable[..., Any] | None:
    """`function` taking JSON arguments: those it names, turned into the types of the tool's parameters."""
    if function is None:
        return None
    taken = inspect.signature(function).parameters
    takes_all = any(one.kind is one.VAR_KEYWORD for one in taken.values())

    def call(**arguments: Any) -> Any:
        given = typed.validate_python(arguments)
        return function(**(given if takes_all else {key: value for key, value in given.items() if key in taken}))

    return call


def _source(function: Callable[..., Any]) -> str:
    code = inspect.unwrap(function).__code__
    return f"{Path(code.co_filename)}:{code.co_firstlineno}"
