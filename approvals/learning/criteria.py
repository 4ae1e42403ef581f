"""What counts as enough, as right and as too hasty: `learning.toml` in the workspace, or else in the data folder.

    never = ["payments.refund"]                        # tools that nobody's autonomy grows with

    [calibration]
    days = 90
    target = 0.95                                      # how right an agent must be above a threshold
    enough = 50                                        # decisions below which nothing is proposed

    [supervised]                                       # what it takes to act at tier 2 ...
    runs = 10000
    right = 0.992
    days = 30

    [auto]                                             # ... and at tier 1
    runs = 10000

    [drift]                                            # what ends it at once
    right = 0.98
    calibration_error = 0.15
    enough = 50

    [reviewers]
    days = 30
    hasty_s = 5
    approves = 0.98
    enough = 20

What is not said is as it stands here. Read again when it has changed; while it makes no sense, what held before does.
"""

import logging
import tomllib
from pathlib import Path
from typing import Annotated

from django.conf import settings
from django.core import checks
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agents import errors
from agents.registry.declarations import alike

log = logging.getLogger(__name__)

FILE = "learning.toml"
Share = Annotated[float, Field(ge=0, le=1)]
Days = Annotated[int, Field(ge=1, le=3650)]
Count = Annotated[int, Field(ge=1)]


class Table(BaseModel):
    """A table of the file. A key that nobody knows is a mistake."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Calibrating(Table):
    """Over how many days, how right above a threshold, from how many decisions on."""

    days: Days = 90
    target: Share = 0.95
    enough: Count = 50


class Earning(Table):
    """What an agent must have shown, with one tool, before it may do it at a milder tier."""

    runs: Count = 10_000
    right: Share = 0.992
    days: Days = 30
    violations: Annotated[int, Field(ge=0)] = 0


class Drifting(Table):
    """Below which share of right decisions, or above which calibration error, a tier that was earned is lost."""

    right: Share = 0.98
    calibration_error: Share = 0.15
    enough: Count = 50


class Reviewing(Table):
    """When somebody may be agreeing without reading: so quickly, so often, in so many decisions."""

    days: Days = 30
    hasty_s: Annotated[float, Field(gt=0)] = 5.0
    approves: Share = 0.98
    enough: Count = 20


class Criteria(Table):
    """All of it."""

    never: tuple[str, ...] = ()
    calibration: Calibrating = Calibrating()
    supervised: Earning = Earning()
    auto: Earning = Earning()
    drift: Drifting = Drifting()
    reviewers: Reviewing = Reviewing()

    def of_tier(self, tier: int) -> Earning:
        """What it takes to act at this tier."""
        return self.auto if tier == 1 else self.supervised


_seen: tuple[object, Criteria] = (None, Criteria())


def current() -> Criteria:
    """What holds now."""
    global _seen
    path = place()
    mark = _mark(path)
    if mark != _seen[0]:
        try:
            _seen = mark, read(path)
        except errors.Invalid as error:
            log.error("%s What held before it holds on.", error.message)
            _seen = mark, _seen[1]
    return _seen[1]


def place() -> Path:
    """Where the file is, or would be."""
    folder: Path | None = settings.WORKSPACE
    if folder and (folder / FILE).exists():
        return folder / FILE
    return Path(settings.DATA_DIR) / FILE


def read(path: Path) -> Criteria:
    """What a file says. Raises `errors.Invalid` with one sentence that names the place."""
    try:
        said = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Criteria()
    except OSError as error:
        raise errors.Invalid(f"{path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise errors.Invalid(f"{path} is not TOML: {error}.") from error
    try:
        return Criteria.model_validate(
            {name: tuple(one) if isinstance(one, list) else one for name, one in said.items()}
        )
    except ValidationError as error:
        raise errors.Invalid(f"{path}: {_sentence(error)}") from error


def problem() -> str:
    """What is wrong with the file, in one sentence; empty when nothing is."""
    try:
        read(place())
    except errors.Invalid as error:
        return error.message
    return ""


@checks.register
def say_what_is_wrong(app_configs: object, **_: object) -> list[checks.CheckMessage]:
    """Said by every command of manage.py."""
    sentence = problem()
    return [checks.Warning(sentence, id="approvals.W001")] if sentence else []


def _sentence(error: ValidationError) -> str:
    found = error.errors(include_url=False)[0]
    *tables, key = map(str, found["loc"])
    where = f"[{'.'.join(tables)}] {key}" if tables else key
    if found["type"] == "extra_forbidden":
        table = Criteria.model_fields[tables[0]].annotation if tables else Criteria
        known = list(table.model_fields) if isinstance(table, type) and issubclass(table, BaseModel) else []
        return f"{where} means nothing here. {alike(key, known) or 'There are ' + ', '.join(known) + '.'}"
    return f"{where} is {found['input']!r}; {found['msg'][0].lower()}{found['msg'][1:]}."


def _mark(path: Path) -> object:
    try:
        found = path.stat()
    except OSError:
        return path
    return path, found.st_mtime_ns, found.st_size
