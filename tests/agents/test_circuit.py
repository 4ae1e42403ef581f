"""The rules of a circuit breaker, whatever happens in whatever order."""

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agents.llm import circuit
from agents.llm.circuit import FAILURES, FIRST_COOL_DOWN, LONGEST_COOL_DOWN, Circuit, State

NOON = 1_790_000_000.0
PATIENCE = 60.0


def opened(at: float = NOON, *, at_least: float = 0.0) -> Circuit:
    one = Circuit(since=at)
    for _ in range(FAILURES):
        one = one.failed("", at=at, reason="overloaded", at_least=at_least)
    return one


class Life(RuleBasedStateMachine):
    """A breaker among calls that begin, end well, end badly, say nothing, or are never heard of again."""

    def __init__(self) -> None:
        super().__init__()
        self.at = NOON
        self.one = Circuit(since=NOON)
        self.under_way: list[str] = []
        self.probes = 0
        self.in_a_row = 0

    @rule(seconds=st.floats(0, 400))
    def time_passes(self, seconds: float) -> None:
        self.at += seconds

    @precondition(lambda self: len(self.under_way) < 20)
    @rule()
    def a_call_begins(self) -> None:
        if self.one.state == State.CLOSED:
            self.under_way.append("")
        elif not self.one.wait(self.at):
            self.probes += 1
            self.one = self.one.probed(f"probe {self.probes}", at=self.at, patience=PATIENCE)
            self.under_way.append(self.one.probe)
            assert self.one.wait(self.at) > 0, "a second probe beside the first"

    @precondition(lambda self: self.under_way)
    @rule(which=st.integers(0, 19), at_least=st.sampled_from([0.0, 5.0, 60.0, 100_000.0]))
    def a_call_fails(self, which: int, at_least: float) -> None:
        before, call = self.one, self.under_way.pop(which % len(self.under_way))
        self.one = before.failed(call, at=self.at, reason="no answer", at_least=at_least)
        if before.state == State.CLOSED:
            self.in_a_row += 1
            assert (self.one.state == State.OPEN) == (self.in_a_row >= FAILURES)
        elif before.probe != call or not call:
            assert self.one == before, "a call from before it opened changed something"
        if self.one.state == State.OPEN and before.state != State.OPEN:
            wait = self.one.wait(self.at)
            assert wait + 0.001 >= FIRST_COOL_DOWN
            assert min(at_least, LONGEST_COOL_DOWN) <= wait + 0.001
            assert wait <= LONGEST_COOL_DOWN + 0.001

    @precondition(lambda self: self.under_way)
    @rule(which=st.integers(0, 19))
    def a_call_is_answered(self, which: int) -> None:
        before, call = self.one, self.under_way.pop(which % len(self.under_way))
        self.one = before.answered(call, at=self.at)
        if before.state == State.CLOSED or self.one.state == State.CLOSED:
            self.in_a_row = 0
            assert self.one.failures == 0
        if before.state != State.CLOSED:
            assert (self.one.state == State.CLOSED) == bool(call and call == before.probe)

    @precondition(lambda self: self.under_way)
    @rule(which=st.integers(0, 19))
    def a_call_says_nothing(self, which: int) -> None:
        before, call = self.one, self.under_way.pop(which % len(self.under_way))
        self.one = before.given_back(call, at=self.at)
        if before.state == State.HALF_OPEN and call and call == before.probe:
            assert self.one.wait(self.at) == 0, "nobody else may probe now"
        else:
            assert self.one == before

    @precondition(lambda self: self.under_way)
    @rule()
    def everything_under_way_dies(self) -> None:
        self.under_way.clear()

    @invariant()
    def it_never_locks_up(self) -> None:
        assert self.one.wait(self.at + LONGEST_COOL_DOWN + PATIENCE) == 0

    @invariant()
    def it_is_the_same_when_stored_and_read(self) -> None:
        assert circuit.read(self.one.stored()) == self.one
        assert circuit.read(self.one.stored()).stored() == self.one.stored()


TestLife = Life.TestCase


def test_each_probe_that_fails_makes_the_next_wait_longer_up_to_a_limit() -> None:
    one, at, waits = opened(), NOON, []
    for number in range(7):
        waits.append(one.wait(at))
        at = one.retry_at
        one = one.probed(f"probe {number}", at=at, patience=PATIENCE).failed(f"probe {number}", at=at, reason="no")
    assert waits == [10, 20, 40, 80, 160, 300, 300]
    closed = one.probed("last", at=one.retry_at, patience=PATIENCE).answered("last", at=one.retry_at)
    assert (closed.state, closed.failures, closed.openings) == (State.CLOSED, 0, 0)


def test_the_other_sides_own_wish_for_rest_is_kept() -> None:
    assert opened(at_least=45).wait(NOON) == 45
    assert opened(at_least=3).wait(NOON) == FIRST_COOL_DOWN


@given(back=st.floats(60, 1e7))
def test_a_clock_set_back_does_not_keep_it_open(back: float) -> None:
    assert opened().wait(NOON - back) == 0
