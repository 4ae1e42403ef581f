"""The ladder and the clock of a question, as pure functions: what is due when, and what happens then."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from agents import errors
from approvals.escalation import ladder as ladders
from approvals.escalation import written
from approvals.escalation.clocks import Clock, Interval
from approvals.escalation.hours import Calendar
from approvals.escalation.ladder import AfterLast, Ladder, Position, What, When

NOON = datetime(2025, 11, 21, 12, 0, tzinfo=UTC)  # a Friday
MINUTE = timedelta(minutes=1)
LEVELS = [
    {"level": 1, "targets": ["rhea"], "minutes": 10, "when": "not_acknowledged", "repeat": 0, "channels": []},
    {"level": 2, "targets": ["olga"], "minutes": 20, "when": "not_decided", "repeat": 1, "channels": ["email"]},
]


def ladder(*, calendar: Any = None, level: int = 1, within: int = 15, holds: bool = False, **policy: Any) -> Ladder:
    """Ten minutes for Rhea, twice twenty for Olga."""
    content = {**written.DEFAULT, "levels": LEVELS, "acknowledge_minutes": 30, **policy}
    frozen = ladders.freeze(content, name="test", calendar=calendar, within=within * MINUTE, level=level, holds=holds)
    return Ladder.of(frozen)


def running(*intervals: Interval, calendar: Calendar | None = None) -> Clock:
    """Since noon, unless said otherwise."""
    return Clock.of(intervals or [(NOON, None)], calendar or Calendar())


def climb(on: Ladder, clock: Clock) -> list[tuple[int, list[What]]]:
    """Nobody does anything: minutes after noon, and what happened."""
    position, happened = Position(0, NOON), []
    while at := ladders.due(on, clock, position):
        turn = ladders.pass_time(on, clock, position, at=at)
        happened.append((round((at - NOON) / MINUTE), list(turn.happened)))
        position = turn.position
        if What.EXPIRED in turn.happened:
            break
    return happened


def test_silence_goes_up_level_by_level_and_then_holds() -> None:
    assert climb(ladder(), running()) == [(10, [What.ESCALATED]), (30, [What.REMINDED]), (50, [What.HELD])]


def test_silence_is_rejected_or_goes_to_the_emergency_contact_where_the_policy_says_so() -> None:
    assert climb(ladder(after_last="reject"), running())[-1] == (50, [What.EXPIRED])
    last = ladder(after_last="emergency", emergency=["ada"])
    assert climb(last, running())[-1] == (50, [What.EMERGENCY])
    assert last.rungs[-1].targets == ("ada",)
    assert climb(ladder(after_last="reject", holds=True), running())[-1] == (50, [What.HELD])


def test_no_end_of_silence_approves() -> None:
    assert {*AfterLast} == {"hold", "reject", "emergency"}
    with pytest.raises(errors.Invalid, match="after_last"):
        written.policy({"levels": [{"level": 1, "targets": ["rhea"]}], "after_last": "approve"})


def test_whoever_acknowledges_keeps_it_until_that_lapses_and_then_it_goes_on() -> None:
    on, clock = ladder(), running()
    in_hand = Position(0, NOON, acknowledged_at=NOON + 5 * MINUTE)
    lapses = NOON + 35 * MINUTE
    assert ladders.due(on, clock, in_hand) == lapses
    turn = ladders.pass_time(on, clock, in_hand, at=lapses)
    assert turn.happened == (What.REOPENED, What.ESCALATED)
    assert turn.position == Position(1, lapses), "the next level has all of its time"


def test_a_level_that_waits_for_a_decision_is_not_held_up_by_an_acknowledgement() -> None:
    on, clock = ladder(), running()
    position = Position(1, NOON, acknowledged_at=NOON + MINUTE)
    assert ladders.due(on, clock, position) == NOON + 20 * MINUTE
    turn = ladders.pass_time(on, clock, position, at=NOON + 20 * MINUTE)
    assert (turn.happened, turn.position.acknowledged_at) == ((What.REMINDED,), NOON + MINUTE)


def test_an_acknowledgement_that_lapses_early_only_reopens() -> None:
    on, clock = ladder(acknowledge_minutes=3), running()
    position = Position(1, NOON, acknowledged_at=NOON + MINUTE)
    turn = ladders.pass_time(on, clock, position, at=NOON + 4 * MINUTE)
    assert (turn.happened, turn.position) == ((What.REOPENED,), Position(1, NOON))


def test_a_tick_that_was_away_for_hours_moves_one_rung_and_gives_it_all_its_time() -> None:
    late = NOON + 300 * MINUTE
    turn = ladders.pass_time(ladder(after_last="reject"), running(), Position(0, NOON), at=late)
    assert turn == ladders.Turn(Position(1, late), (What.ESCALATED,))


def test_before_anything_is_due_nothing_happens() -> None:
    turn = ladders.pass_time(ladder(), running(), Position(0, NOON), at=NOON + 9 * MINUTE)
    assert turn == ladders.Turn(Position(0, NOON), ())


def test_it_begins_at_the_level_that_the_act_demands_and_within_the_time_it_was_given() -> None:
    assert [rung.level for rung in ladder(level=2).rungs] == [2, 2]
    assert [rung.level for rung in ladder(level=4).rungs] == [2, 2], "the highest there is"
    assert ladder(within=5).rungs[0].seconds == 300
    assert ladder(within=60).rungs[0].seconds == 600


def test_hours_count_only_where_the_policy_says_so() -> None:
    office = {"zone": "UTC", "hours": {"friday": ["09:00-12:05"], "monday": ["09:00-17:00"]}}
    clock = Calendar.of(office)
    on = ladder(calendar=office)
    monday = datetime(2025, 11, 24, 9, 5, tzinfo=UTC)
    assert ladders.due(on, running(calendar=clock), Position(0, NOON)) == monday
    assert ladder(calendar=office, clock="wall").calendar.is_always


def test_a_clock_that_stands_still_has_nothing_due_and_goes_on_with_what_was_left() -> None:
    on, four = ladder(), NOON + 4 * MINUTE
    assert ladders.due(on, running((NOON, four)), Position(0, NOON)) is None
    again = running((NOON, four), (NOON + 60 * MINUTE, None))
    assert ladders.due(on, again, Position(0, NOON)) == NOON + 66 * MINUTE
    assert again.spent(NOON + 62 * MINUTE) == 6 * MINUTE
    assert again.spent(NOON + 62 * MINUTE, since=NOON + 61 * MINUTE) == MINUTE


pauses = some.lists(some.integers(1, 5000), min_size=1, max_size=9, unique=True).map(sorted)


@given(pauses, some.integers(1, 20_000), some.integers(0, 3000))
def test_the_clock_reaches_a_length_exactly_when_it_has_spent_it(edges: list[int], seconds: int, since: int) -> None:
    moments = [NOON + timedelta(seconds=one) for one in [0, *edges]]
    pairs = [(moments[place], moments[place + 1]) for place in range(0, len(moments) - 1, 2)]
    tail = [(moments[-1], None)] if len(moments) % 2 else []
    clock, length, start = Clock.of([*pairs, *tail]), timedelta(seconds=seconds), NOON + timedelta(seconds=since)
    end = clock.reaches(length, since=start)
    if end is None:
        assert not tail
        assert clock.spent(NOON + timedelta(days=2), since=start) < length
    else:
        assert clock.spent(end, since=start) == length


# --- what a file may say ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("given_", "sentence"),
    [
        ({}, "levels is missing"),
        ({"levels": []}, "levels"),
        ({"levels": [{"level": "L5", "targets": ["rhea"]}]}, r"\[\[levels\]\] number 1, level is 'L5'; levels are L1"),
        ({"levels": [{"level": "L1", "targets": []}]}, r"number 1, targets"),
        ({"levels": [{"level": "L1", "targets": ["role:king"]}]}, "no role; roles are viewer"),
        ({"levels": [{"level": "L1", "targets": ["rhea"], "minutes": 0}]}, r"number 1, minutes is 0; it should be"),
        (
            {"levels": [{"level": "L1", "targets": ["rhea"], "minuts": 5}]},
            "minuts means nothing here. Did you mean min",
        ),
        ({"levels": [{"level": "L1", "targets": ["rhea"], "channels": ["pigeon"]}]}, "no channel; there are in_app"),
        ({"levels": LEVELS[::-1]}, "[Oo]rder L2, L1; each once, from the lowest"),
        ({"levels": LEVELS, "after_last": "emergency"}, "mergency names who is asked last"),
        ({"levels": LEVELS, "emergency": ["rhea"]}, "goes together with after_last"),
    ],
)
def test_a_policy_that_says_something_else_is_told_what_where_and_what_would_be_right(
    given_: Any, sentence: str
) -> None:
    with pytest.raises(errors.Invalid, match=sentence):
        written.policy(given_)


@pytest.mark.parametrize(
    ("given_", "sentence"),
    [
        ({"zone": "Vienna"}, "zone is 'Vienna', which is no time zone; write one such as Europe/Vienna"),
        ({"hours": {"monday": "8-17"}}, r"\[hours\] monday holds '8-17'; hours are written 08:00-17:00"),
        ({"hours": {"moonday": "08:00-17:00"}}, r"\[hours\] moonday means nothing here; the days are monday"),
        ({"hours": {"monday": "closed"}}, "ours name no time at all"),
        ({"holidays": {"christmas": "Christmas"}}, "a holiday is written 2026-12-25"),
        ({"colour": "red"}, "colour means nothing here"),
    ],
)
def test_a_calendar_that_says_something_else_is_told_so(given_: Any, sentence: str) -> None:
    with pytest.raises(errors.Invalid, match=sentence):
        written.calendar(given_)


def test_a_file_may_say_levels_by_name_and_hours_in_one_text() -> None:
    slug, content = written.policy({"team": "service", "levels": [{"level": "L2", "targets": ["rhea", "rhea"]}]})
    assert (slug, content["levels"][0]["level"], content["levels"][0]["targets"]) == ("service", 2, ["rhea"])
    assert content["levels"][0]["when"] == When.NOT_DECIDED
    _, hours = written.calendar({"hours": {"monday": "08:00-12:00, 13:00-17:00"}})
    assert hours["hours"] == {"monday": ["08:00-12:00", "13:00-17:00"]}


def test_the_policy_that_is_built_in_says_nothing_that_a_file_could_not() -> None:
    assert written.policy(written.DEFAULT) == ("", written.DEFAULT)
