"""A run told to a person: sentences first, the tree beneath, the timeline beside. Reads steps, decides nothing.

A window of steps is read at a time, so that a run of ten thousand opens as fast as one of ten.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from agents.contracts import Json
from agents.models import Recording, Run, Step, StepPayload

WINDOW = 200
LONGEST = 400


@dataclass(slots=True)
class Line:
    """One line of the story. `hue` is a story class; `lead` is the plain sentence, `act` its stressed part."""

    seq: int | None
    at: datetime | None
    hue: str
    lead: str
    act: str = ""
    tail: str = ""
    quote: str = ""
    times: int = 1
    seconds: float | None = None


@dataclass(slots=True)
class Branch:
    """A step with the steps it asked for."""

    step: Step
    children: list[Step] = field(default_factory=list)


@dataclass(slots=True)
class Window:
    """Some steps of a run with their payloads, in order; `earlier` and `later` are the seqs to go on from, if any."""

    steps: list[Step]
    payloads: dict[int, StepPayload]
    earlier: int | None
    later: int | None


def window(run: Run, *, around: int | None = None) -> Window:
    """The last steps, or those from `around` on."""
    steps = run.steps.order_by("seq")
    if around is None:
        found = list(run.steps.order_by("-seq")[:WINDOW])[::-1]
    else:
        found = list(steps.filter(seq__gte=around)[:WINDOW])
    if not found:
        return Window([], {}, None, None)
    first, last = found[0].seq, found[-1].seq
    stored = StepPayload.objects.filter(run=run, seq__range=(first, last))
    later = steps.filter(seq__gt=last).values_list("seq", flat=True).first()
    return Window(found, {one.seq: one for one in stored}, max(1, first - WINDOW) if first > 1 else None, later)


def tell(run: Run, shown: Window) -> list[Line]:
    """The story of a window; alike lines in a row are told once, with how often."""
    lines = [sentence(step, shown.payloads.get(step.seq)) for step in shown.steps]
    return list(fold(interleave(run, shown, lines) if "recording" in run.input else lines))


def fold(lines: Iterable[Line]) -> Iterator[Line]:
    """Collapse what repeats: the first of the row stays, counting."""
    last: Line | None = None
    for line in lines:
        if last and line.hue == "fold" and (last.hue, last.lead) == (line.hue, line.lead):
            last.times += 1
            continue
        if last:
            yield last
        last = line
    if last:
        yield last


def sentence(step: Step, payload: StepPayload | None) -> Line:
    """One step in plain words."""
    at, seconds = step.started_at or step.created_at, taken(step)
    if step.kind == Step.Kind.MODEL:
        return model_sentence(step, payload, at, seconds)
    if step.kind == Step.Kind.WAIT:
        return Line(step.seq, at, "fold", f"Waited: {step.says}" if step.says else "Waited.", seconds=seconds)
    what = step.says or use(step, payload)
    if step.state == Step.State.DONE and not step.writes:
        return Line(step.seq, at, "fold" if not step.says else "ok", f"Used {what}", seconds=seconds)
    hue, lead, tail = {
        Step.State.DONE: ("act", "Did: ", decided(step)),
        Step.State.HELD: ("held", "Proposed to ", f"and waits: {step.gate_reason}"),
        Step.State.INTENDED: ("busy", "Is at it: ", ""),
        Step.State.FAILED: ("bad", "Tried ", f"and failed: {step.error}"),
        Step.State.REFUSED: ("warn", "Was not allowed to ", f"— {step.error or step.gate_reason}"),
        Step.State.IN_DOUBT: ("held", "Nobody knows whether this happened: ", step.error),
        Step.State.CANCELLED: ("warn", "Stopped before it ended: ", step.error),
    }[Step.State(step.state)]
    return Line(step.seq, at, hue, lead, act=what, tail=tail, seconds=seconds)


def model_sentence(step: Step, payload: StepPayload | None, at: datetime | None, seconds: float | None) -> Line:
    """What a model said, or decided to use."""
    if step.state == Step.State.INTENDED:
        return Line(step.seq, at, "busy", f"Is asking {step.model}", seconds=seconds)
    if step.state != Step.State.DONE:
        return Line(step.seq, at, "bad", f"{step.model} did not answer: {step.error}", seconds=seconds)
    message = (payload.output or {}).get("message", {}) if payload and isinstance(payload.output, dict) else {}
    parts = message.get("parts", [])
    calls = [part.get("name", "a tool") for part in parts if part.get("type") == "tool_call"]
    words = " ".join(text(part) for part in parts if part.get("type") in {"text", "reasoning"}).strip()
    if calls:
        return Line(step.seq, at, "ok", f"Decided to use {listed(calls)}.", quote=short(words), seconds=seconds)
    return Line(step.seq, at, "act", "Answered.", quote=short(words), seconds=seconds)


def text(part: Json) -> str:
    """The words of a part."""
    return str(part.get("content") or "")


def use(step: Step, payload: StepPayload | None) -> str:
    """A tool with its arguments, short."""
    given = payload.input if payload and isinstance(payload.input, dict) else {}
    if "malformed" in given:
        return f"{step.name} with malformed arguments"
    arguments = given.get("arguments") or {}
    told = ", ".join(f"{key} {short(plain(value), 40)}" for key, value in list(arguments.items())[:3])
    return f"{step.name} ({told})" if told else step.name


def plain(value: Any) -> str:
    """A value as one would say it."""
    if isinstance(value, list | tuple):
        return f"{len(value)} entries" if len(value) > 3 else listed([plain(one) for one in value])
    return "…" if isinstance(value, dict) else str(value)


def decided(step: Step) -> str:
    """Who let it through."""
    if not step.answer:
        return ""
    by = step.answer.get("by_name") or "someone"
    verb = {"edited": "edited and approved", "outcome": "done"}.get(step.answer["kind"], step.answer["kind"])
    return f"({verb} by {by})"


def taken(step: Step) -> float | None:
    """Seconds a step took; None while it is open or where the times were never recorded."""
    if step.started_at is None or step.finished_at is None:
        return None
    return max(0.0, (step.finished_at - step.started_at).total_seconds())


def listed(names: Sequence[str]) -> str:
    """“a, b and c”, with repeats counted."""
    counted = [f"{name} ×{names.count(name)}" if names.count(name) > 1 else name for name in dict.fromkeys(names)]
    return counted[0] if len(counted) == 1 else f"{', '.join(counted[:-1])} and {counted[-1]}"


def short(words: str, most: int = LONGEST) -> str:
    """At most so many characters, cut at a word."""
    return words if len(words) <= most else words[: most - 1].rsplit(" ", 1)[0] + "…"


def interleave(run: Run, shown: Window, lines: list[Line]) -> Iterator[Line]:
    """Put the conversation of a recording, which is shown but is no step, between the steps."""
    content = Recording.objects.values_list("content", flat=True).get(pk=run.input["recording"])
    told = {line.seq: line for line in lines}
    first = shown.steps[0].seq if shown.steps else 1
    seq = 0
    for entry in content["entries"]:
        if entry["kind"] != "said":
            seq += 1
            if seq in told:
                yield told[seq]
            continue
        if seq + 1 >= first and (seq in told or seq + 1 in told or not told):
            said = entry.get("said") or {}
            role = {"user": "The customer said", "assistant": "Said"}.get(said.get("role", ""), "Heard")
            words = " ".join(text(part) for part in said.get("parts", ())).strip()
            yield Line(None, None, "said", f"{role}:", quote=short(words))


def conversation(shown: Window) -> Iterator[Json]:
    """The messages of a window, in order: what models were told and what they answered."""
    for payload in shown.payloads.values():
        if isinstance(payload.input, dict):
            yield from payload.input.get("messages", ())
        if isinstance(payload.output, dict) and isinstance(payload.output.get("message"), dict):
            yield payload.output["message"]


def branches(steps: Sequence[Step]) -> list[Branch]:
    """Steps as a tree: what a model asked for hangs on that model step."""
    found: list[Branch] = []
    for step in steps:
        if step.kind == Step.Kind.TOOL and found and found[-1].step.kind == Step.Kind.MODEL:
            found[-1].children.append(step)
        else:
            found.append(Branch(step))
    return found


@dataclass(frozen=True, slots=True)
class Segment:
    """A bar of the timeline."""

    start: datetime
    end: datetime | None
    label: str
    hue: str


def segments(run: Run, steps: Sequence[Step]) -> list[Segment]:
    """Work and waiting as bars; a step without recorded times has none."""
    bars = []
    for step in steps:
        if step.state == Step.State.HELD:
            bars.append(Segment(step.created_at, None, f"{step.name} waits for a person", "wait"))
        if step.answer and step.started_at and step.created_at < step.started_at:
            bars.append(Segment(step.created_at, step.started_at, f"{step.name} waited for a person", "wait"))
        if step.started_at:
            hue = "bad" if step.state == Step.State.FAILED else "act"
            bars.append(Segment(step.started_at, step.finished_at, f"{step.seq} {step.name}", hue))
    if run.is_ended:
        bars = [Segment(bar.start, bar.end or run.finished_at, bar.label, bar.hue) for bar in bars]
    return bars
