"""Which step of which play comes next, and what it says: a pure function of the conversation.

Apart from `plays`, the language, and from `simulated`, the model that takes its time. Nothing is remembered between two
questions: where a play stands is read from the turns taken so far and what tools answered.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from agents.contracts import Json
from agents.llm import conversation, plausible
from agents.llm.chance import Chance
from agents.llm.plays import Play, Step, Table

UNKNOWN = object()
PLACEHOLDER = re.compile(r"\{([A-Za-z_][\w.-]*)\}")
GENERIC_READS = 3


class Scene:
    """What the words in braces stand for at one moment."""

    def __init__(self, names: Json) -> None:
        self._names = names
        self._results: Json = {}

    def note(self, exchange: conversation.Exchange) -> None:
        """Take in what tools answered."""
        for result in exchange.results:
            if result.problem:
                self._names["problem"] = result.problem
            else:
                self._results[result.tool] = result.response

    def look_up(self, path: str) -> Any:
        """The value of a name, or of a path into what a tool returned; `UNKNOWN` if there is none."""
        if path in self._names:
            return self._names[path]
        tool = max((name for name in self._results if f"{path}.".startswith(f"{name}.")), key=len, default=None)
        if tool is None:
            return UNKNOWN
        value = self._results[tool]
        for key in filter(None, path.removeprefix(tool).split(".")):
            if isinstance(value, dict) and key in value:
                value = value[key]
            elif isinstance(value, list) and key.isdecimal() and int(key) < len(value):
                value = value[int(key)]
            else:
                return UNKNOWN
        return value

    def fill(self, template: Any) -> Any:
        """A template with its braces filled; what is not known is left out of objects and lists."""
        if isinstance(template, dict):
            filled = {key: self.fill(value) for key, value in template.items()}
            return {key: value for key, value in filled.items() if value is not UNKNOWN}
        if isinstance(template, list | tuple):
            return [value for value in map(self.fill, template) if value is not UNKNOWN]
        if not isinstance(template, str):
            return template
        alone = PLACEHOLDER.fullmatch(template)
        return self.look_up(alone[1]) if alone else self.say(template)

    def say(self, template: str) -> str:
        """A sentence with its braces filled; what is not known is called unknown."""
        return PLACEHOLDER.sub(lambda found: _as_text(self.look_up(found[1])), template)

    def holds(self, given: dict[str, str]) -> bool:
        """Whether every value is known and matches."""
        values = {path: self.look_up(path) for path in given}
        return all(
            value is not UNKNOWN and re.fullmatch(given[path], _as_text(value), re.IGNORECASE)
            for path, value in values.items()
        )


@dataclass(frozen=True, slots=True)
class Cue:
    """The step to play now and the scene to fill it from."""

    step: Step
    scene: Scene


def cue(table: Table, messages: Sequence[Json], tools: Sequence[Json], run: Chance) -> Cue:
    """What to do now. `run` must be the same for every question of one run."""
    objective = conversation.objective(messages)
    for number, play in enumerate(table.plays):
        names = _casting(play, objective, run, f"play {number}")
        if names is not None:
            break
    else:
        play, names = generic(tools, objective, run), {"objective": objective}
    scene = Scene(names)
    offered = {tool["name"] for tool in tools}
    return Cue(_next(play, conversation.exchanges(messages), scene, offered), scene)


def generic(tools: Sequence[Json], objective: str, run: Chance) -> Play:
    """What a model does that nobody has told what to do: look things up once, whatever comes of it, and say so."""
    reads = [tool for tool in tools if not tool.get("writes")][:GENERIC_READS]
    used = " and ".join(tool["name"] for tool in reads)
    steps = [Step(say=f"I looked into “{{objective}}” with {used}." if used else "I have read “{objective}”.")]
    for tool in reversed(reads):
        guess = plausible.arguments(tool.get("schema") or {}, objective, run)
        steps.insert(0, Step(tool=tool["name"], arguments=guess, otherwise=tuple(steps)))
    return Play(steps=tuple(steps))


def _casting(play: Play, objective: str, run: Chance, name: str) -> Json | None:
    """The names a play starts with; None if it does not fit."""
    if not re.search(play.when, objective, re.IGNORECASE) or run.fraction(f"{name} share") >= play.share:
        return None
    names: Json = {pick: run.one_of(options, f"{name} {pick}") for pick, options in play.pick.items()}
    for captured, pattern in play.capture.items():
        if found := re.search(pattern, objective, re.IGNORECASE):
            names[captured] = found[1] if found.re.groups else found[0]
        elif captured not in names:
            return None
    return {**names, "objective": objective}


def _next(play: Play, taken: Sequence[conversation.Exchange], scene: Scene, offered: set[str]) -> Step:
    steps, repeats = _playable(play.steps, scene, offered), 0
    for exchange in taken:
        scene.note(exchange)
        if steps and (failure := exchange.failure):
            if failure.may_retry and repeats < steps[0].again:
                repeats += 1
                continue
            steps = _otherwise(steps[0], failure)
        else:
            steps = steps[1:]
        steps, repeats = _playable(steps, scene, offered), 0
    return steps[0] if steps else Step(say="That is all I can do here.")


def _playable(steps: tuple[Step, ...], scene: Scene, offered: set[str]) -> tuple[Step, ...]:
    """The steps from the first one on that can be played now."""
    for index, step in enumerate(steps):
        if scene.holds(step.given) and all(call.tool in offered for call in step.wanted):
            return steps[index:]
    return ()


def _otherwise(step: Step, failure: conversation.Result) -> tuple[Step, ...]:
    if step.otherwise is None:
        return (Step(say=f"I stopped: {failure.tool} did not work. {{problem}}"),)
    if isinstance(step.otherwise, str):
        return (Step(say=step.otherwise),)
    return step.otherwise


def shaped(arguments: Json, schema: Json) -> Json:
    """Arguments turned into what the schema asks for, where text and numbers were mixed up on the way."""
    properties = schema.get("properties", {})
    return {name: _shaped(value, properties.get(name, {}).get("type")) for name, value in arguments.items()}


def _shaped(value: Any, kind: Any) -> Any:
    if isinstance(value, str) and kind in ("integer", "number"):
        for read in (int, float) if kind == "number" else (int,):
            try:
                return read(value)
            except ValueError:
                continue
    if kind == "string" and isinstance(value, int | float) and not isinstance(value, bool):
        return _as_text(value)
    return value


def _as_text(value: Any) -> str:
    if value is UNKNOWN or value is None:
        return "unknown"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def spoken(step: Step, scene: Scene, chance: Chance) -> Iterator[Json]:
    """The words of a step as message parts."""
    if step.think:
        yield {"type": "reasoning", "content": scene.say(step.think)}
    options = [step.say] if isinstance(step.say, str) else step.say
    if words := chance.one_of(options, "say") if options else "":
        yield {"type": "text", "content": scene.say(words)}
