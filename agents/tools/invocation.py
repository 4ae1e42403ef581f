"""Using a tool: checked arguments in, JSON out, and every way it can fail as an `OutsideError`.

Nothing here knows runs or steps: the runner commits the intent before and the outcome after.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from pydantic_core import PydanticSerializationError, from_json, to_json

from agents import errors
from agents.tools import schemas, waiting
from agents.tools.catalogue import ToolSpec
from agents.tools.checking import validate
from agents.tools.context import ToolContext, ToolError, Touched

__all__ = ["describe", "invoke", "preview", "touched", "validate"]

SANDBOX = "sandbox"


def invoke(spec: ToolSpec, arguments: Mapping[str, Any], context: ToolContext) -> Any:
    """Use a tool with arguments that `validate` returned; the result is what the database would give back.

    Raises `errors.OutsideError`; its `kind` is `timeout`, `cancelled` or `connection` (it may have acted), `result` (it
    ran, but returned no JSON) or the class of what it raised. In a sandbox a tool that writes is simulated instead.
    """
    context.cancellation.raise_if_set()
    simulated = spec.writes and context.environment == SANDBOX
    if simulated and spec.sandbox is None:
        return {"simulated": True, "says": describe(spec, arguments)}
    function = spec.sandbox if simulated and spec.sandbox else spec.function
    try:
        result = _call(spec, function, spec.typed.validate_python(arguments), context)
    except waiting.OverdueError:
        seconds = spec.timeout.total_seconds() if spec.timeout else 0
        message = f"{spec.name} did not answer within {seconds:g} s."
        raise errors.OutsideError(message, kind="timeout", permanent=False) from None
    except errors.OutsideError:
        raise
    except ToolError as error:
        raise errors.OutsideError(str(error), kind=error.kind, permanent=error.permanent) from error
    except (Exception, SystemExit) as error:
        kind, permanent = _kind(error)
        raise errors.OutsideError(_words(error), kind=kind, permanent=permanent) from error
    kept = _jsonable(spec, result)
    if simulated:
        return {"simulated": True, **(kept if isinstance(kept, dict) else {"result": kept})}
    return kept


def _call(spec: ToolSpec, function: Callable[..., Any], given: dict[str, Any], context: ToolContext) -> Any:
    """Where the function runs: here when nothing can delay it, else where waiting can be given up."""
    takes_context, is_async = spec.takes_context, spec.is_async
    if function is not spec.function:
        takes_context, is_async = schemas.takes_context(function), inspect.iscoroutinefunction(function)
    call = partial(function, context, **given) if takes_context else partial(function, **given)
    seconds = spec.timeout.total_seconds() if spec.timeout else None
    if is_async:
        return waiting.loop().wait_for(call(), seconds=seconds, cancellation=context.cancellation)
    if seconds is None:
        return call()
    return waiting.crew().wait_for(call, seconds=seconds, cancellation=context.cancellation)


def describe(spec: ToolSpec, arguments: Mapping[str, Any]) -> str:
    """The act in one plain sentence; a tool that says nothing is described by its call."""
    if spec.says is None:
        given = ", ".join(f"{name} {value}" for name, value in arguments.items())
        return f"{spec.name}: {given}" if given else spec.name
    return str(_told(spec, "says", spec.says, arguments))


def touched(spec: ToolSpec, arguments: Mapping[str, Any]) -> Sequence[Touched]:
    """The records an act would change; nothing for a tool that only reads."""
    if (touches := spec.touches) is None:
        return ()
    records: list[Touched] = _told(spec, "touches", lambda **given: list(touches(**given)), arguments)
    return records


def preview(spec: ToolSpec, arguments: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """What would be different afterwards, `{what, before, after}` in JSON; empty when the tool cannot tell."""
    if (told := spec.preview) is None:
        return ()
    lines: list[Mapping[str, Any]] = _told(
        spec, "preview", lambda **given: _jsonable(spec, list(told(**given))), arguments
    )
    return lines


def preconditions(spec: ToolSpec, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What an approval of this act rests on, as it is now, {name: value} in JSON; empty for a tool that names none."""
    if (told := spec.preconditions) is None:
        return {}
    found: dict[str, Any] = _told(
        spec, "preconditions", lambda **given: _jsonable(spec, dict(told(**given))), arguments
    )
    return found


def _told(spec: ToolSpec, door: str, function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    """What a tool says about an act. An act that its own tool cannot describe is not done blindly: it fails."""
    try:
        return function(**arguments)
    except ToolError as error:  # its own words, for instance that there is no such record
        raise errors.OutsideError(str(error), kind=error.kind, permanent=error.permanent) from error
    except Exception as error:
        message = f"{spec.name} could not tell what it would do: its `{door}` failed with {_words(error)}"
        raise errors.OutsideError(message, kind=door, permanent=True) from error


def _kind(error: BaseException) -> tuple[str, bool]:
    """How a tool's exception is called, and whether it would come again. Two kinds mean that it may have acted."""
    if isinstance(error, ConnectionRefusedError):
        return type(error).__name__, False
    if isinstance(error, TimeoutError):
        return "timeout", False
    if isinstance(error, ConnectionError):
        return "connection", False
    return type(error).__name__, True


def _words(error: BaseException) -> str:
    """An exception as a sentence; those without a message have at least a name."""
    return f"{type(error).__name__}: {error}".rstrip(": ")


def _jsonable(spec: ToolSpec, result: Any) -> Any:
    """A result as the database gives it back: `Decimal`, dates and dataclasses as text and objects, NaN as null."""
    try:
        stored = to_json(result, inf_nan_mode="null")
    except (PydanticSerializationError, ValueError):
        try:
            stored = to_json(_storable(result), inf_nan_mode="null")
        except (PydanticSerializationError, ValueError, RecursionError) as error:
            message = f"{spec.name} ran, but what it returned is not JSON: {error}"
            raise errors.OutsideError(message, kind="result", permanent=True) from error
    value = from_json(stored)
    return _storable(value) if b"\\u0000" in stored else value


def _storable(value: Any) -> Any:
    """Without what PostgreSQL refuses in JSON: NUL characters and halves of surrogate pairs become �."""
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_storable(one) for one in value]
    if isinstance(value, dict):
        return {_storable(key): _storable(one) for key, one in value.items()}
    return value
