"""The `[simulated]` table of a bundle: what a simulated model does when it is asked for something.

Apart from the playing, because this page is the language in which a demo or a test is written. Whole and in order:

    [simulated]
    latency_ms = [200, 900]      # every answer takes this long; default [150, 600]
    failure_rate = 0.02          # how often the model is "overloaded" and the call fails (tried again like any other);
                                 # or by model: {"sim-large" = 1.0, "sim-small" = 0.0}; default 0
    confidence = [0.7, 0.98]     # what it says of its writes unless a call says otherwise: a range, a number
                                 # or "unknown"

    [[simulated.plays]]          # the first play that fits is played; without one, the read tools are tried once
    when = "refund|money back"   # fits if this is found in the objective (a regular expression, case is ignored)
    share = 0.8                  # ... and in this share of the runs (the same ones every time); default 1
    capture = { order = 'order (\\w+)' }      # ... and if all of these are found; group 1 is remembered by its name
    pick = { tone = ["kindly", "briefly"] }  # one of each, chosen per run; what was captured wins over it
    steps = [
      { think = "Which order?", say = "I look it up.", tool = "orders.read", arguments = { order_id = "{order}" } },
      { given = { "orders.read.status" = "refunded|lost" }, say = "Order {order} is {orders.read.status} already." },
      { tool = "payments.refund", arguments = { order = "{order}" }, confidence = [0.5, 0.95], again = 2, otherwise = [
          { tool = "tickets.note", arguments = { text = "No refund: {problem}" } },
          { say = "I could not refund order {order}: {problem}" },
        ] },
      { say = ["Refunded {orders.read.total} for order {order}.", "Done: {orders.read.total} are back, {tone}."] },
    ]

(TOML wants the keys of a `{ ... }` on one line, but a list in it may take several; longer steps can be written as
`[[simulated.plays.steps]]`.)

A step is one answer of the model. With a tool it calls it; `calls = [{ tool = ..., arguments = ... }, ...]` calls
several at once. Without one it is the last: it says something and the run ends. A step is skipped when a tool it calls
was not offered, or when `given` does not hold (each value must match its regular expression whole).
When a call fails it is made again up to `again` times (a refused one never is); then `otherwise`, steps or one
sentence, takes the place of the rest. Without `otherwise` the model says what went wrong and stops.
`malformed = 0.1` sends broken JSON as arguments in a tenth of the cases.

Words in braces are filled in: what was captured or picked, `{objective}`, `{problem}` (why the last call failed), and
what tools returned: `{tool.name.field.0.field}`, the latest result of that tool. Alone in a string they keep their type
(and are turned into the number or text that the tool's schema asks for); an argument that is not known is left out.
"""

import json
import re
from functools import lru_cache
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator, ValidationError, model_validator

from agents import errors
from agents.contracts import Json


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"is not a regular expression ({error})") from error
    return text


def _rising(pair: tuple[float, float]) -> tuple[float, float]:
    if pair[0] > pair[1]:
        raise ValueError("must name the smaller number first")
    return pair


def _sure(said: Any) -> Any:
    pair = said if isinstance(said, list | tuple) else (said, said)
    if said == "unknown" or (len(pair) == 2 and all(_is_share(one) for one in pair) and pair[0] <= pair[1]):
        return tuple(said) if isinstance(said, list) else said
    raise ValueError('takes a number from 0 to 1, two of them with the smaller first, or "unknown"')


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


Pattern = Annotated[str, AfterValidator(_pattern)]
Rate = Annotated[float, Field(ge=0, le=1)]
Milliseconds = Annotated[float, Field(ge=0)]
Sureness = Annotated[float | tuple[float, float] | str, PlainValidator(_sure)]

UNION = re.compile(r"^(constrained-)?(str|float|list|tuple|dict)($|\[)")
"""What pydantic puts into the place of an error for each type it tried; it means nothing to a reader."""


class Written(BaseModel):
    """Something written by a person: a key that means nothing is a mistake, not an extra."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Call(Written):
    """One call of one tool."""

    tool: str
    arguments: Json = {}
    confidence: Sureness | None = None
    malformed: Rate = 0


class Step(Written):
    """One answer of the model: it calls tools, or says something and is done."""

    think: str = ""
    say: str | list[str] = ""
    tool: str = ""
    arguments: Json = {}
    confidence: Sureness | None = None
    malformed: Rate = 0
    calls: tuple[Call, ...] = ()
    given: dict[str, Pattern] = {}
    again: int = Field(default=0, ge=0)
    otherwise: "tuple[Step, ...] | str | None" = None

    @model_validator(mode="after")
    def _says_or_does(self) -> "Step":
        if self.tool and self.calls:
            raise ValueError("takes `tool` or `calls`, not both")
        if not (self.say or self.tool or self.calls):
            raise ValueError("needs `say`, `tool` or `calls`")
        if not self.tool and (self.arguments or self.malformed or self.confidence is not None):
            raise ValueError("has `arguments`, `confidence` or `malformed` but no `tool` that they are for")
        return self

    @property
    def wanted(self) -> tuple[Call, ...]:
        """The calls this step makes."""
        if not self.tool:
            return self.calls
        return (Call(tool=self.tool, arguments=self.arguments, confidence=self.confidence, malformed=self.malformed),)


class Play(Written):
    """What to do about one kind of objective."""

    when: Pattern = ""
    share: Rate = 1
    capture: dict[str, Pattern] = {}
    pick: dict[str, Annotated[list[Any], Field(min_length=1)]] = {}
    steps: tuple[Step, ...] = Field(min_length=1)


class Table(Written):
    """The whole `[simulated]` table."""

    latency_ms: Annotated[tuple[Milliseconds, Milliseconds], AfterValidator(_rising)] = (150, 600)
    failure_rate: Rate | dict[str, Rate] = 0
    confidence: Sureness = (0.7, 0.98)
    plays: tuple[Play, ...] = ()

    def failure_rate_of(self, model: str) -> float:
        """How often a model fails."""
        return self.failure_rate.get(model, 0) if isinstance(self.failure_rate, dict) else self.failure_rate


def read(table: Json) -> Table:
    """A table as written, checked; what is wrong is said in one sentence that names the place."""
    try:
        return _read(json.dumps(table))
    except (ValidationError, TypeError) as error:
        raise errors.Invalid(_sentence(error), field="simulated") from error


@lru_cache(maxsize=256)
def _read(table: str) -> Table:
    """Remembered: the same release asks thousands of times."""
    return Table.model_validate_json(table)


def _sentence(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return f"The [simulated] table holds something that is not data: {error}."
    # A misspelt key explains what is missing elsewhere, so it is named first.
    first = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
    place = ".".join(str(step) for step in first["loc"] if not UNION.search(str(step)))
    said = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        said = "is not a key that means something here"
    return f"In the [simulated] table, {place or 'all of it'}: {said}."
