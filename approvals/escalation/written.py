"""What the files of calendars and escalation policies may say, and the sentence for what says something else.

The pages read their forms into the same tables. Nothing here looks into the database: that a team or a person exists
is checked where it is published.
"""

import re
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from agents import errors
from agents.models import Role
from agents.registry.declarations import alike
from approvals.escalation import hours
from approvals.escalation.ladder import AfterLast, Json, When

CHANNELS = ("in_app", "email", "webhook", "slack", "pagerduty", "opsgenie")
LEVELS = ("L1", "L2", "L3", "L4")
LONGEST_MINUTES, MOST_REPEATS, MOST_TARGETS = 7 * 24 * 60, 20, 20
ROLE = "role:"

REVIEWERS = [f"{ROLE}{Role.REVIEWER}"]
DEFAULT: Json = {
    "clock": "business",
    "when_paused": "freeze",
    "acknowledge_minutes": 15,
    "after_last": "hold",
    "emergency": [],
    "levels": [
        {"level": 1, "targets": REVIEWERS, "minutes": 15, "when": "not_acknowledged", "repeat": 0, "channels": []},
        {"level": 2, "targets": REVIEWERS, "minutes": 15, "when": "not_decided", "repeat": 1, "channels": []},
        {"level": 3, "targets": ["role:admin"], "minutes": 30, "when": "not_decided", "repeat": 0, "channels": []},
        {
            "level": 4,
            "targets": [*REVIEWERS, "role:admin"],
            "minutes": 60,
            "when": "not_decided",
            "repeat": 0,
            "channels": [],
        },
    ],
}
"""What holds until somebody publishes another: louder every quarter of an hour, then it waits. It decides nothing."""


def _target(text: str) -> str:
    """A person's name, or `role:reviewer`: everybody who has that role in the team."""
    role = text.removeprefix(ROLE)
    if text.startswith(ROLE) and role not in Role.values:
        raise ValueError(f"holds {text!r}, which is no role; roles are {', '.join(Role.values)}")
    if not re.fullmatch(r"\S{1,80}", text):
        raise ValueError(f"holds {text!r}; write the name of an account such as rhea, or a role such as role:reviewer")
    return text


def _channel(text: str) -> str:
    if text not in CHANNELS:
        raise ValueError(f"holds {text!r}, which is no channel; there are {', '.join(CHANNELS)}")
    return text


def _level(value: Any) -> int:
    """L1 to L4, or the number alone."""
    text = str(value).upper()
    if text not in LEVELS and text not in {level[1:] for level in LEVELS}:
        raise ValueError(f"is {value!r}; levels are {', '.join(LEVELS)}")
    return int(text[-1])


def _once(values: list[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _spans(value: Any) -> list[str]:
    """`"08:00-12:00, 13:00-17:00"`, or a list of spans; "closed" and nothing mean none."""
    texts = value if isinstance(value, list) else str(value).split(",")
    found = [str(text).strip() for text in texts if str(text).strip() not in ("", "closed")]
    for text in found:
        hours.read_span(text)
    return found


def _weekday(text: str) -> str:
    if text not in hours.WEEKDAYS:
        raise ValueError(f"means nothing here; the days are {', '.join(hours.WEEKDAYS)}")
    return text


def _day(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise ValueError(f"holds {text!r}; a holiday is written 2026-12-25") from None


Target = Annotated[str, AfterValidator(_target)]
Targets = Annotated[list[Target], AfterValidator(_once), Field(max_length=MOST_TARGETS)]
Minutes = Annotated[int, Field(gt=0, le=LONGEST_MINUTES)]
Spans = Annotated[list[str], BeforeValidator(_spans)]


class Written(BaseModel):
    """Something a person wrote: a key that means nothing is a mistake, not an extra."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)


class LevelTable(Written):
    """Who is asked on one level, and for how long."""

    level: Annotated[int, BeforeValidator(_level)]
    targets: Annotated[Targets, Field(min_length=1)]
    minutes: Minutes = 15
    when: When = When.NOT_DECIDED
    repeat: Annotated[int, Field(ge=0, le=MOST_REPEATS)] = 0
    channels: Annotated[list[Annotated[str, AfterValidator(_channel)]], AfterValidator(_once)] = []


class PolicyFile(Written):
    """The whole file of an escalation policy. Without `team` it holds for every team that has none of its own."""

    team: str = ""
    clock: Literal["business", "wall"] = "business"
    when_paused: Literal["freeze", "run"] = "freeze"
    acknowledge_minutes: Minutes = 15
    after_last: AfterLast = AfterLast.HOLD
    emergency: Targets = []
    levels: Annotated[list[LevelTable], Field(min_length=1, max_length=4)]

    @model_validator(mode="after")
    def _together(self) -> "PolicyFile":
        numbers = [one.level for one in self.levels]
        if numbers != sorted(set(numbers)):
            raise ValueError(f"levels stand in the order {_named(numbers)}; each once, from the lowest to the highest")
        if (self.after_last == AfterLast.EMERGENCY) != bool(self.emergency):
            raise ValueError('emergency names who is asked last, and goes together with after_last = "emergency"')
        return self


class CalendarFile(Written):
    """The whole file of a calendar. Without `hours` it is always open; a weekday that is not named is closed."""

    team: str = ""
    zone: Annotated[str, AfterValidator(hours.known_zone)] = "UTC"
    hours: dict[Annotated[str, AfterValidator(_weekday)], Spans] | None = None
    holidays: dict[Annotated[str, AfterValidator(_day)], str] = {}

    @model_validator(mode="after")
    def _ever_open(self) -> "CalendarFile":
        if self.hours is not None and not any(self.hours.values()):
            raise ValueError("hours name no time at all; leave the table out for a calendar that is always open")
        return self


def policy(given: Json) -> tuple[str, Json]:
    """The team's slug and the content of a policy. Raises `errors.Invalid` naming table and key."""
    return _read(PolicyFile, given)


def calendar(given: Json) -> tuple[str, Json]:
    """The team's slug and the content of a calendar; likewise."""
    return _read(CalendarFile, given)


def _read(kind: type[Written], given: Json) -> tuple[str, Json]:
    try:
        content: Json = kind.model_validate(given).model_dump(mode="json", exclude_none=True)
    except ValidationError as error:
        raise _refusal(error, kind) from error
    return content.pop("team"), content


def _refusal(error: ValidationError, kind: type[Written]) -> errors.Invalid:
    """The first thing that is wrong, where, and what would be right; a misspelt key comes first."""
    found = min(error.errors(include_url=False), key=lambda one: one["type"] != "extra_forbidden")
    path = [part for part in found["loc"] if part != "[key]"]
    field, place = ".".join(str(part) for part in path if not isinstance(part, int)), _place(path)
    if found["type"] == "extra_forbidden":
        table: type[Written] = LevelTable if path[0] == "levels" else kind
        known = list(table.model_fields)
        sentence = f"{place} means nothing here. {alike(str(path[-1]), known) or 'There are ' + ', '.join(known)}"
    elif found["type"] == "missing":
        sentence = f"{place} is missing."
    elif found["type"] == "value_error":
        sentence = f"{place} {found['ctx']['error']}.".strip()
    else:
        plain = found["msg"].partition(" should ")[2] or found["msg"].lower()
        sentence = f"{place} is {found['input']!r}; it should {plain}."
    return errors.Invalid(sentence[:1].upper() + sentence[1:] if not path else sentence, field=field)


def _place(path: list[Any]) -> str:
    """`[[levels]] number 2, minutes`, `[hours] monday`, `clock`: as it is written in the file."""
    names = [str(part) for part in path]
    if path[:1] == ["levels"] and len(path) > 1:
        return ", ".join([f"[[levels]] number {path[1] + 1}", *names[2:3]])
    if path[:1] in (["hours"], ["holidays"]):
        return " ".join([f"[{names[0]}]", *names[1:2]])
    return names[0] if names else ""


def _named(numbers: list[int]) -> str:
    return ", ".join(f"L{number}" for number in numbers)
