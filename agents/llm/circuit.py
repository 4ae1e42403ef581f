"""A circuit breaker as a value: what it lets through, and what each outcome makes of it. No clock, no Redis.

`closed` lets everything through. So many failures in a row, with no answer between them, open it; `open` lets nothing
through until it has cooled down. Then it is `half_open`: one call at a time is a probe, and the probe's outcome alone
closes the circuit or opens it again, for longer. Calls that were under way when it opened change nothing any more.
"""

import json
from dataclasses import asdict, dataclass, replace
from enum import StrEnum

FAILURES = 5
"""In a row; a call of a model that fails is tried once more, so that this is two or three calls."""

FIRST_COOL_DOWN, LONGEST_COOL_DOWN = 10.0, 300.0
PROBE_IS_OUT = 1.0
"""Seconds after which to ask again while a probe is under way: nobody knows how long it takes."""

CLOCK_SLACK = 5.0
"""A circuit that changed further in the future than this was stored before somebody set a clock back."""


class State(StrEnum):
    """What a circuit does with the next call."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class Circuit:
    """Times are seconds since 1970. `retry_at` is when an open circuit, or a half-open one whose probe is not heard of
    again, lets a probe through; `openings` counts those since it was last closed; `probe` names the probe that is out.
    """

    state: State = State.CLOSED
    since: float = 0.0
    failures: int = 0
    retry_at: float = 0.0
    openings: int = 0
    probe: str = ""
    reason: str = ""

    def wait(self, at: float) -> float:
        """Seconds until something may be let through; 0 when it may be now."""
        if self.state == State.CLOSED or at >= self.retry_at or at < self.since - CLOCK_SLACK:
            return 0.0
        return min(self.retry_at - at, PROBE_IS_OUT if self.state == State.HALF_OPEN else LONGEST_COOL_DOWN)

    def probed(self, probe: str, *, at: float, patience: float) -> "Circuit":
        """With a probe out, from which `patience` seconds are enough to hear. Only where `wait` says 0."""
        since = self.since if self.state == State.HALF_OPEN else at
        return replace(self, state=State.HALF_OPEN, since=since, retry_at=at + patience, probe=probe)

    def failed(self, probe: str, *, at: float, reason: str, at_least: float = 0.0) -> "Circuit":
        """After a failure; the other side may have asked to be left alone for `at_least` so many seconds."""
        if self.state == State.CLOSED:
            failures = self.failures + 1
            counted = replace(self, failures=failures, reason=reason)
            return counted if failures < FAILURES else counted._opened(at, at_least)
        if self.state == State.HALF_OPEN and probe == self.probe != "":
            return replace(self, failures=self.failures + 1, reason=reason)._opened(at, at_least)
        return self

    def answered(self, probe: str, *, at: float) -> "Circuit":
        """After an answer, be it a refusal."""
        if self.state == State.CLOSED:
            return replace(self, failures=0, reason="") if self.failures else self
        if self.state == State.HALF_OPEN and probe == self.probe != "":
            return Circuit(since=at)
        return self

    def given_back(self, probe: str, *, at: float) -> "Circuit":
        """After a call that says nothing about the other side: a probe that was none makes room for the next."""
        if self.state == State.HALF_OPEN and probe == self.probe != "":
            return replace(self, retry_at=at, probe="")
        return self

    def stored(self) -> str:
        """As text; the same circuit is always the same text."""
        return json.dumps(asdict(self), sort_keys=True)

    def _opened(self, at: float, at_least: float) -> "Circuit":
        cool_down = FIRST_COOL_DOWN * 2.0 ** min(self.openings, 20)
        retry_at = at + min(max(cool_down, at_least), LONGEST_COOL_DOWN)
        return replace(self, state=State.OPEN, since=at, retry_at=retry_at, openings=self.openings + 1, probe="")


def read(stored: str) -> Circuit:
    """A circuit as it was stored."""
    fields = json.loads(stored)
    return Circuit(**{**fields, "state": State(fields["state"])})
