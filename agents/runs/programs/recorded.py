"""The program of a recorded run: at every turn it asks for what was done next, with the outcome that was recorded.

A pure function of history like any program: the number of steps taken says where in the recording we are. Gates judge
its steps as they judge everyone's; only what a person refuses or changes cannot be followed, since nothing was recorded
of the world in which they did.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from agents.contracts import AskModel, Assignment, Event, Finish, Json, Recorded, Turn, Usage, UseTool
from agents.runs.recorded.beside import TIER_WRITE, tier
from agents.runs.recorded.content import MODEL, SAID, TOOL

DIVERGED = "diverged"
PROVIDER = "recorded"
LONGEST_CALL_ID = 120


class RecordedRun:
    """Follows `assignment.input`, the content of a recording. The bundle gives the prompt and the types of tools."""

    def next(self, assignment: Assignment, history: Sequence[Event]) -> Turn:
        """What was done after the steps in `history`; the end when the recording ends or a person decided otherwise."""
        entries: list[Json] = assignment.input["entries"]
        steps = [place for place, entry in enumerate(entries) if entry["kind"] != SAID]
        for event, place in zip(history, steps, strict=False):
            if why := _parting(event, entries[place]):
                return [Finish(failure=DIVERGED, detail=why)]
        if len(history) == len(steps):
            return [_end(assignment.input, entries[steps[-1] + 1 :] if steps else entries)]
        place = steps[len(history)]
        if entries[place]["kind"] == MODEL:
            return [_model(assignment, place)]
        return list(_together(assignment, _tools_from(entries, place)))


def _parting(event: Event, entry: Json) -> str:
    """Why the run can't go on after this step as it was recorded; empty when it can."""
    if event.state in {"refused", "cancelled"}:
        what = f"was {event.state}: {event.error or 'no reason was given'}"
    elif event.kind == TOOL and entry["malformed"] is None and event.input != {"arguments": entry["arguments"]}:
        what = "was changed to other arguments than the recorded ones"
    else:
        return ""
    return f"Step {event.seq} ({event.name}) {what}. Nothing was recorded of what follows that."


def _together(assignment: Assignment, calls: Sequence[Json]) -> Iterator[UseTool]:
    """What can be asked at once. A write closes the turn: if it is refused, nothing recorded after it may happen."""
    for call in calls:
        ask = _tool(call, assignment)
        yield ask
        if ask.writes:
            return


def _tools_from(entries: Sequence[Json], place: int) -> list[Json]:
    """The tool calls of one message, from `place` on."""
    calls: list[Json] = []
    for entry in entries[place:]:
        if entry["kind"] != TOOL or entry["message"] != entries[place]["message"]:
            break
        calls.append(entry)
    return calls


def _model(assignment: Assignment, place: int) -> AskModel:
    """The model's call with the conversation before it; only what was said since its last one is new."""
    content = assignment.input
    entry, before = content["entries"][place], content["entries"][:place]
    prompt = assignment.bundle.get("prompts", {}).get("system")
    system = [{"role": "system", "parts": [{"type": "text", "content": prompt}]}] if prompt else []
    known = _known(before)
    return AskModel(
        messages=[*system, *map(_message, before)],
        known=known + len(system) if known else 0,
        recorded=Recorded(
            output={"message": entry["said"]},
            provider=PROVIDER,
            model=entry["model"] or content["model"] or "",
            usage=_usage(entry["usage"]) if _is_told(entry) or not _is_told(content) else None,
            cost=_dollars(entry["cost_usd"]),
            finished_at=_moment(entry["at"]),
        ),
    )


def _known(before: Sequence[Json]) -> int:
    """How many of these entries history has: all up to the last model step, and its tools right after it."""
    last = max((place for place, entry in enumerate(before) if entry["kind"] == MODEL), default=None)
    if last is None:
        return 0
    return last + 1 + len(_tools_from(before, last + 1))


def _message(entry: Json) -> Json:
    if entry["kind"] != TOOL:
        said: Json = entry["said"]
        return said
    named = {} if entry["call_id"] is None else {"id": entry["call_id"]}
    return {"role": "tool", "parts": [{"type": "tool_call_response", **named, "response": entry["result"]}]}


def _tool(entry: Json, assignment: Assignment) -> UseTool:
    types: Json = assignment.bundle.get("tool_types", {})
    its_tier = tier(types.get(entry["name"]))
    failed, finished = entry["ok"] is False, _moment(entry["result_at"])
    return UseTool(
        name=entry["name"],
        arguments=entry["arguments"] or {},
        call_id=(entry["call_id"] or "")[:LONGEST_CALL_ID],
        malformed=entry["malformed"] or "",
        says=_sentence(entry),
        tier=its_tier,
        writes=its_tier >= TIER_WRITE,
        recorded=Recorded(
            output=entry["result"],
            ok=entry["ok"],
            error=str(entry["result"] or "failed, as recorded") if failed else "",
            started_at=finished and _moment(entry["requested_at"]),
            finished_at=finished,
        ),
    )


def _sentence(entry: Json) -> str:
    """The act in words, made from the call: a recorded tool brings no sentence of its own."""
    act = entry["name"].replace("_", " ").capitalize()
    if entry["malformed"] is not None:
        return f"{act}, with arguments that are not a JSON object"
    given = ", ".join(f"{name.replace('_', ' ')} {_brief(value)}" for name, value in entry["arguments"].items())
    return f"{act}: {given}" if given else act


def _brief(value: Any, limit: int = 60) -> str:
    text = str(value) if isinstance(value, str | int | float) else f"({len(value)})" if value else "none"
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _is_told(entry: Json) -> bool:
    """Whether this step, or this run, says what it took."""
    return entry["usage"] is not None or entry["cost_usd"] is not None


def _usage(recorded: Json | None) -> Usage:
    """A model's call always took tokens: where nobody counted them, they are unknown and the call has no price."""
    told = recorded or {}
    return Usage(
        input=told.get("input_tokens"),
        output=told.get("output_tokens"),
        cache_read=told.get("cache_read_input_tokens"),
        cache_write=told.get("cache_creation_input_tokens"),
    )


def _dollars(recorded: str | None) -> Decimal | None:
    return None if recorded is None else Decimal(recorded)


def _moment(recorded: str | None) -> datetime | None:
    """The recorded time. Sources write no zone: such a time is read as UTC, and the page says that nobody knows."""
    if recorded is None:
        return None
    try:
        moment = datetime.fromisoformat(recorded)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _end(content: Json, after: Sequence[Json]) -> Finish:
    """The result: how the source judged the run, its totals where it recorded those, and the last words."""
    kept = ("outcome", "usage", "cost_usd", "user_usage", "user_cost_usd", "flags")
    result = {**{name: content[name] for name in kept}, "afterwards": [_message(entry) for entry in after]}
    if not _is_told(content) or any(_is_told(entry) for entry in content["entries"] if entry["kind"] == MODEL):
        return Finish(result=result)
    usage, cost = _usage(content["usage"]), _dollars(content["cost_usd"])
    spent = Recorded(output=None, provider=PROVIDER, model=content["model"] or "", usage=usage, cost=cost)
    return Finish(result=result, spent=spent)
