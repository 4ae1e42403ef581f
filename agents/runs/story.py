"""A run told to a person in plain sentences: what it did, what it said, who stepped in. Reads, decides nothing.

A window of steps is read at a time, so that a run of ten thousand opens as fast as one of ten. The tree and the
timeline of the same steps are in `timelines.py`.
"""

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import zip_longest
from typing import Any

from django.utils import timezone

from agents.contracts import Json
from agents.models import Control, Recording, Run, Step, StepPayload
from agents.runs import compensating, delegating, fallbacks
from agents.runs.handing import CHAIN

WINDOW = 200
LONGEST = 320
INLINE = 110
"""Words longer than this stand in a block of their own beneath the sentence."""
ALIKE = 3
"""From so many uses of the same tool in a row on, they are told as one line."""

TOLD = ("text", "reasoning")
DELEGATED = {
    Step.State.DONE: "Delegated, and it was done: ",
    Step.State.INTENDED: "Delegated and waits for it: ",
    Step.State.FAILED: "Delegated in vain: ",
}
BACK = {
    Step.State.DONE: "Took back step {}: ",
    Step.State.HELD: "Is to take back step {}: ",
    Step.State.INTENDED: "Is taking back step {}: ",
    Step.State.FAILED: "Could not take back step {}: ",
    Step.State.REFUSED: "Left step {} as it is: ",
    Step.State.IN_DOUBT: "Could not take back step {}: ",
    Step.State.CANCELLED: "Broke off taking back step {}: ",
}
"""What leads to the sentence of a step that takes an act back."""
DID = {
    "pause": "paused it",
    "stop": "stopped it before it happened",
    "resume": "let it go on",
    "cancel": "cancelled it",
    "keep": "let it go on with its release and the program as it is",
    "move": "moved it to the live release",
}


@dataclass(slots=True)
class Line:
    """One line of the story. `hue` is a story class; `lead` is the plain sentence, `act` its stressed part.

    A line without `seq` is no step: what a person did, what somebody said. `members` are the lines it stands for, to be
    shown where it `is_open`; `day` is set where another day than today's begins.
    """

    seq: int | None
    at: datetime | None
    hue: str
    lead: str = ""
    act: str = ""
    tail: str = ""
    quote: str = ""
    seconds: float | None = None
    tool: str = ""
    attempt: int = 1
    simulated: bool = False
    day: date | None = None
    members: list["Line"] = field(default_factory=list)
    is_open: bool = False


@dataclass(slots=True)
class Window:
    """Some steps of a run with their payloads, in order; `earlier` and `later` are the seqs to go on from, if any."""

    steps: list[Step]
    payloads: dict[int, StepPayload]
    earlier: int | None
    later: int | None

    @property
    def first(self) -> int:
        """The seq it begins with; 0 without steps."""
        return self.steps[0].seq if self.steps else 0

    @property
    def last(self) -> int:
        """The seq it ends with; 0 without steps."""
        return self.steps[-1].seq if self.steps else 0


def window(run: Run, *, around: int | None = None, showing: int | None = None) -> Window:
    """The last steps, or those from `around` on; with `showing` those around that step where the last lack it."""
    steps = run.steps.order_by("seq")
    if around is None:
        found = list(run.steps.order_by("-seq")[:WINDOW])[::-1]
        if showing is not None and found and showing < found[0].seq:
            return window(run, around=max(1, showing - WINDOW // 2))
    else:
        found = list(steps.filter(seq__gte=around)[:WINDOW])
    if not found:
        return Window([], {}, None, None)
    first, last = found[0].seq, found[-1].seq
    stored = StepPayload.objects.filter(run=run, seq__range=(first, last))
    later = None if around is None else steps.filter(seq__gt=last).values_list("seq", flat=True).first()
    return Window(found, {one.seq: one for one in stored}, max(1, first - WINDOW) if first > 1 else None, later)


def tell(run: Run, shown: Window, *, opened: Container[int] = ()) -> list[Line]:
    """The story of a window. Alike uses in a row are one line, with its members where one of them is in `opened`."""
    is_recorded = "recording" in run.input
    told = {line.seq: line for line in sentences(shown, is_recorded=is_recorded)}
    steps = list(_with_conversation(run, shown, told)) if is_recorded else list(_with_people(run, shown, told))
    lines = [*_beginning(run, shown), *gather(steps, opened), *_end(run, shown)]
    return list(_dated(lines))


def sentences(shown: Window, *, is_recorded: bool = False) -> Iterator[Line]:
    """Each step in plain words; a turn that said nothing but what to use next is told by what it used."""
    for step, following in zip_longest(shown.steps, shown.steps[1:]):
        line = sentence(step, shown.payloads.get(step.seq), is_recorded=is_recorded)
        is_told_next = following is not None and following.kind == Step.Kind.TOOL and step.state == Step.State.DONE
        if step.kind == Step.Kind.MODEL and is_told_next:
            if not (line.quote or line.lead):
                continue
            line.tail = ""
        yield line


def gather(lines: Iterable[Line], opened: Container[int]) -> Iterator[Line]:
    """Tell uses of the same tool in a row as one line that counts them."""
    row: list[Line] = []
    for line in [*lines, None]:
        if row and (line is None or line.hue != "fold" or line.tool != row[0].tool or not line.tool):
            yield from [_gathered(row, opened)] if len(row) >= ALIKE else row
            row = []
        if line is None:
            return
        if line.hue == "fold" and line.tool:
            row.append(line)
        else:
            yield line


def _gathered(row: list[Line], opened: Container[int]) -> Line:
    first = row[0]
    known = [line.seconds for line in row if line.seconds is not None]
    seconds = sum(known) if len(known) == len(row) else None
    made = Line(first.seq, first.at, "fold", f"Used {first.tool} ×{len(row)}", seconds=seconds, tool=first.tool)
    made.members, made.is_open = row, any(line.seq in opened for line in row)
    return made


def sentence(step: Step, payload: StepPayload | None, *, is_recorded: bool = False) -> Line:
    """One step in plain words."""
    at = step.started_at or step.finished_at if is_recorded else step.started_at or step.created_at
    line = Line(step.seq, at, "", seconds=taken(step), attempt=step.attempt, simulated=step.simulated)
    if step.kind == Step.Kind.MODEL:
        return model_sentence(line, step, payload)
    if step.kind == Step.Kind.WAIT:
        line.hue, line.lead = "fold", f"Waited: {step.says}" if step.says else "Waited."
    elif step.kind == Step.Kind.DELEGATE:
        line.act = step.says
        line.hue, line.lead, line.tail = _fate(step)
        line.lead = DELEGATED.get(Step.State(step.state), line.lead)
    elif step.state == Step.State.DONE and not step.writes:
        line.hue, line.tool = "fold", step.name
        line.lead = step.says or f"Used {use(step, payload)}"
    else:
        line.act = step.says or use(step, payload)
        line.hue, line.lead, line.tail = _fate(step)
        if step.compensates is not None:
            line.lead = BACK[Step.State(step.state)].format(step.compensates)
    return line


def _fate(step: Step) -> tuple[str, str, str]:
    """Hue, lead and tail of an act, or of a read that went wrong."""
    why = step.error or step.gate_reason
    if step.is_announced and step.due_at:
        return (
            "held",
            "Announced: ",
            f"It happens at {timezone.localtime(step.due_at):%H:%M:%S} unless somebody stops it.",
        )
    if step.due_at:
        return "held", "Will try again: ", again(step)
    return {
        Step.State.DONE: ("act", "", decided(step)),
        Step.State.HELD: ("held", "Proposes: ", f"Waits for a person. {step.gate_reason}"),
        Step.State.INTENDED: ("busy", "Is at it: ", decided(step)),
        Step.State.FAILED: ("bad", "Tried: ", f"It failed: {why}" if why else "It failed."),
        Step.State.REFUSED: ("warn", "Was refused: ", " ".join(filter(None, [decided(step), _besides(step)])) or why),
        Step.State.IN_DOUBT: ("held", "Nobody knows whether this happened: ", step.error),
        Step.State.CANCELLED: ("warn", "Withdrawn: " if step.started_at is None else "Broken off: ", why),
    }[Step.State(step.state)]


def _besides(step: Step) -> str:
    """What went wrong that the answer of a person does not say already."""
    return "" if step.answer and step.answer.get("kind") == "rejected" else step.error


def again(step: Step) -> str:
    """Why the last try came to nothing, and when the next one is."""
    at = timezone.localtime(step.due_at).strftime("%H:%M:%S") if step.due_at else ""
    return f"{step.error or 'It failed.'} Next try at {at}."


def model_sentence(line: Line, step: Step, payload: StepPayload | None) -> Line:
    """What a model said, or decided to use."""
    if step.due_at:
        line.hue, line.lead, line.tail = "held", f"Will ask {step.model or step.name} again. ", again(step)
        return line
    if step.state == Step.State.INTENDED:
        line.hue, line.lead = "busy", f"Is asking {step.model or step.name}"
        return line
    if step.state == Step.State.HELD:
        asks = "No model of its chain answered. " if step.gate == CHAIN else f"Would ask {step.name}. "
        line.hue, line.lead, line.tail = "held", asks, f"Waits for a person. {step.gate_reason}"
        return line
    if step.state != Step.State.DONE:
        line.hue, line.lead = "bad", f"{step.model or step.name} did not answer: {step.error or step.gate_reason}"
        return line
    parts = message_of(payload).get("parts", [])
    calls = [str(part.get("name") or "a tool") for part in parts if part.get("type") == "tool_call"]
    said, thought = (" ".join(text(part) for part in parts if part.get("type") == kind).strip() for kind in TOLD)
    line.quote = short(said or thought)
    if calls:
        line.hue, line.lead = "ok", "Said:" if said else "Thought:" if thought else ""
        line.tail = f"Wants to use {listed(calls)}."
    else:
        line.hue, line.lead = "act", "Answered:" if line.quote else "Answered without a word."
    line.lead = " ".join(filter(None, [fallbacks.told(step, payload), line.lead]))
    return line


def message_of(payload: StepPayload | None) -> Json:
    """The message a model step came back with; empty where there is none."""
    found = payload.output.get("message") if payload and isinstance(payload.output, dict) else None
    return found if isinstance(found, dict) else {}


def text(part: Json) -> str:
    """The words of a part."""
    return str(part.get("content") or "")


def use(step: Step, payload: StepPayload | None) -> str:
    """A tool with its arguments, short."""
    given = payload.input if payload and isinstance(payload.input, dict) else {}
    if "malformed" in given:
        return f"{step.name} with malformed arguments"
    arguments = given.get("arguments")
    if not isinstance(arguments, dict):
        return step.name
    told = ", ".join(f"{key} {short(plain(value), 40)}" for key, value in list(arguments.items())[:3])
    return f"{step.name} ({told})" if told else step.name


def plain(value: Any) -> str:
    """A value as one would say it."""
    if isinstance(value, list | tuple):
        return f"{len(value)} entries" if len(value) > 3 or not value else listed([plain(one) for one in value])
    return "…" if isinstance(value, dict) else str(value)


def decided(step: Step) -> str:
    """Who answered for it, after how long, and why."""
    if not step.answer or step.answer["kind"] == delegating.ANSWER:
        return ""
    verb = {"edited": "Edited and approved", "outcome": "Done by hand", "absent": "Found not to have happened"}
    if step.compensates is not None:
        verb |= {"absent": "Tried again as told", "rejected": "Decided"}
    said = verb.get(step.answer["kind"], str(step.answer["kind"]).capitalize())
    reason = f": “{short(step.answer['reason'], 160)}”" if step.answer.get("reason") else "."
    if step.answer["kind"] == "lapsed":
        return f"Nobody answered in time{reason}"
    return f"{said} by {step.answer.get('by_name') or 'somebody'}{reason}"


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


def _beginning(run: Run, shown: Window) -> Iterator[Line]:
    """Who asked for what; only before the first step."""
    if shown.first > 1:
        return
    by = run.started_by.username if run.started_by else "cockpit"
    if "recording" in run.input:
        yield Line(None, None, "", f"Replayed from a recording, whose times these are. Queued by {by}.")
    else:
        facts = "\n".join(f"{key}: {short(plain(value), 120)}" for key, value in run.input.items())
        asked = run.objective if len(run.objective) > INLINE else ""
        yield Line(None, run.created_at, "", f"Started by {by}.", quote="\n\n".join(filter(None, [asked, facts])))


def _end(run: Run, shown: Window) -> Iterator[Line]:
    """How it ended; only behind the last step."""
    is_told = run.state == Run.State.CANCELLED and run.ending is None  # who cancelled it has been told already
    if not run.is_ended or shown.later is not None or is_told:
        return
    hue = {Run.State.COMPLETED: "ok", Run.State.FAILED: "bad"}.get(Run.State(run.state), "")
    why = f": {run.failure_class.replace('_', ' ')}." if run.failure_class else "."
    at = None if "recording" in run.input else run.finished_at
    tail = f"{compensating.tally(run)}." if run.ending else ""
    yield Line(None, at, hue, f"{run.get_state_display()}{why}", tail=tail)


def _with_people(run: Run, shown: Window, told: dict[int | None, Line]) -> Iterator[Line]:
    """Put what people asked of the run between its steps, by the clock."""
    asked = iter(list(Control.objects.filter(run=run).select_related("by").order_by("asked_at")))
    control = next(asked, None)
    for step in shown.steps:
        begun = step.started_at or step.created_at  # as the story tells it: what only reads is stored when it has ended
        while control and control.asked_at < begun:
            if step.seq > shown.first or step.seq == 1:
                yield person_line(control)
            control = next(asked, None)
        if step.seq in told:
            yield told[step.seq]
    while control and shown.later is None:
        yield person_line(control)
        control = next(asked, None)


def person_line(control: Control) -> Line:
    """Who stepped in, and why."""
    who = control.by.username if control.by else "cockpit"
    why = f": “{short(control.reason, 200)}”" if control.reason else "."
    return Line(None, control.asked_at, "person", act=who, tail=f"{DID.get(control.verb, control.verb)}{why}")


def _with_conversation(run: Run, shown: Window, told: dict[int | None, Line]) -> Iterator[Line]:
    """Put the conversation of a recording, which is shown but is no step, between the steps."""
    content = Recording.objects.values_list("content", flat=True).get(pk=run.input["recording"])
    numbers = {step.seq for step in shown.steps}
    seq = 0
    for entry in content["entries"]:
        if entry["kind"] != "said":
            seq += 1
            if seq in told:
                yield told[seq]
        elif seq in numbers or seq + 1 in numbers or not numbers:
            yield _said(entry.get("said") or {})


def _said(said: Json) -> Line:
    who = {"user": "The customer", "assistant": "The agent"}.get(said.get("role", ""), "Somebody")
    return Line(
        None, None, "said", f"{who}:", quote=short(" ".join(text(part) for part in said.get("parts", ())).strip())
    )


def _dated(lines: Iterable[Line]) -> Iterator[Line]:
    """Mark the first line of each day but today's."""
    day = timezone.localdate()
    for line in lines:
        if line.at and timezone.localtime(line.at).date() != day:
            line.day = day = timezone.localtime(line.at).date()
        yield line
