"""The steps of a run in space: the tree of who asked for what, the timeline of work and waiting.

Apart from the story because these show every step there is and say nothing about it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType

from agents.models import Run, Step, StepPayload
from agents.runs import story

IDLE = timedelta(seconds=2)
"""A gap in which nothing worked, longer than this, is idle time and may be hidden."""
SLIVER = 0.4
"""The narrowest bar that is still seen, in percent of the width."""


@dataclass(slots=True)
class Branch:
    """A step with the steps it asked for, and what each was given in a few words."""

    step: Step
    given: str
    children: list["Branch"] = field(default_factory=list)
    run: Run | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """A bar of the timeline: from `start` to `end` (None: going on); `hue` of a state, or "act" for plain work."""

    start: datetime
    end: datetime | None
    label: str
    hue: str
    seq: int = 0


@dataclass(slots=True)
class Row:
    """One step on the timeline: how long it took, and how long it waited for a person.

    `bars` are (x, width, hue) in percent of the width; there are none where no time is known.
    """

    step: Step
    seconds: float | None
    waited: float | None = None
    bars: list[tuple[float, float, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Timeline:
    """All steps of a window on one axis; `hidden` is how much idle time was left out of it."""

    rows: list[Row]
    start: datetime | None
    end: datetime | None
    idle: timedelta
    hidden: timedelta


def branches(shown: story.Window, delegated: Mapping[int, Run] = MappingProxyType({})) -> list[Branch]:
    """Steps as a tree: what a model asked for hangs on that model step, and on its own step what was `delegated`."""
    found: list[Branch] = []
    for step in shown.steps:
        branch = Branch(step, _given(step, shown.payloads.get(step.seq)), run=delegated.get(step.seq))
        if step.kind in {Step.Kind.TOOL, Step.Kind.DELEGATE} and found and found[-1].step.kind == Step.Kind.MODEL:
            found[-1].children.append(branch)
        else:
            found.append(branch)
    return found


def _given(step: Step, payload: StepPayload | None) -> str:
    """What a tool was used with; nothing for a model."""
    if step.kind != Step.Kind.TOOL:
        return ""
    return story.use(step, payload).removeprefix(step.name).strip().removeprefix("(").removesuffix(")")


def segments(run: Run, steps: Iterable[Step]) -> list[Segment]:
    """Work and waiting as bars, in order; a step without recorded times has none."""
    bars = [bar for step in steps for bar in _bars(step, is_recorded="recording" in run.input)]
    if run.is_ended:  # whatever was open ended with the run
        bars = [Segment(bar.start, bar.end or run.finished_at, bar.label, bar.hue, bar.seq) for bar in bars]
    return sorted(bars, key=lambda bar: bar.start)


def _bars(step: Step, *, is_recorded: bool) -> Iterable[Segment]:
    """The wait for a person before it, then the work. A recording's waits are ours, its times are not: no waits."""
    is_open = step.state in {Step.State.HELD, Step.State.IN_DOUBT}
    if step.gate and not is_recorded and (is_open or step.answer or step.state == Step.State.CANCELLED):
        until = None if is_open else step.started_at or step.finished_at
        if until is None or until > step.created_at:
            yield Segment(step.created_at, until, f"{step.seq} {step.name} waits for a person", "wait", step.seq)
    if step.started_at:
        hue = step.hue if step.state in {Step.State.FAILED, Step.State.CANCELLED} else "act"
        yield Segment(step.started_at, step.finished_at, f"{step.seq} {step.name}", hue, step.seq)


def timeline(run: Run, steps: Sequence[Step], *, now: datetime, hides_idle: bool = False) -> Timeline:
    """Every step a row, its bars on the axis of all. With `hides_idle` time in which nothing worked takes no room."""
    bars = segments(run, steps)
    if not bars:
        rows = [Row(step, story.taken(step)) for step in steps]
        return Timeline(rows, None, None, timedelta(0), timedelta(0))
    axis = _Axis(bars, now=now, hides_idle=hides_idle)
    rows = [Row(step, story.taken(step)) for step in steps]
    by_seq = {row.step.seq: row for row in rows}
    for bar in bars:
        by_seq[bar.seq].bars.append(axis.place(bar))
        if bar.hue == "wait":
            by_seq[bar.seq].waited = ((bar.end or now) - bar.start).total_seconds()
    return Timeline(rows, bars[0].start, axis.end, axis.idle, axis.idle if hides_idle else timedelta(0))


class _Axis:
    """Where a moment lies between 0 and 100; idle stretches take no room where they are hidden."""

    def __init__(self, bars: Sequence[Segment], *, now: datetime, hides_idle: bool) -> None:
        self.now = now
        self.start = bars[0].start
        self.end = max(bar.end or now for bar in bars)
        self.gaps = list(self._idle(bars))
        self.idle = sum((end - start for start, end in self.gaps), timedelta(0))
        if not hides_idle:
            self.gaps = []
        self.whole = max(self._passed(self.end), timedelta(milliseconds=1))

    def _idle(self, bars: Sequence[Segment]) -> Iterable[tuple[datetime, datetime]]:
        """Stretches in which nothing worked; waiting for a person is idle."""
        busy_until = self.start
        for bar in bars:
            if bar.hue == "wait":
                continue
            if bar.start - busy_until > IDLE:
                yield busy_until, bar.start
            busy_until = max(busy_until, bar.end or self.now)
        if self.end - busy_until > IDLE:
            yield busy_until, self.end

    def _passed(self, moment: datetime) -> timedelta:
        """Time since the start, without the hidden stretches."""
        hidden = sum((min(moment, end) - start for start, end in self.gaps if moment > start), timedelta(0))
        return moment - self.start - hidden

    def place(self, bar: Segment) -> tuple[float, float, str]:
        """Left edge, width and hue of a bar."""
        left = self._passed(bar.start) / self.whole * 100
        width = max(self._passed(bar.end or self.now) / self.whole * 100 - left, SLIVER)
        left = min(left, 100 - SLIVER)
        return round(left, 2), round(min(width, 100 - left), 2), bar.hue
