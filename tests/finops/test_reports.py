"""Reports add up, begin their days where the person is, and show nobody what belongs to another team."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from agents import errors
from agents.contracts import Usage
from agents.models import Agent, AgentMinute, Role, User
from finops import periods, reports
from finops.reports import Cost, costs
from tests import factories
from tests.finops import books

pytestmark = pytest.mark.django_db

BERLIN = ZoneInfo("Europe/Berlin")
NOON = books.NOON


def shown(rows: Sequence[Cost]) -> list[tuple[str, Decimal | None, int]]:
    return [(row.group, row.amount, row.calls) for row in rows]


def test_costs_by_agent_come_dearest_first_with_what_is_not_in_the_sum_beside_it(max_: User) -> None:
    desk, refunds = books.agent("desk"), books.agent("refunds")
    books.spend(desk, "0.10")
    books.spend(desk, None, usage=Usage())
    books.spend(refunds, "0.30", usage=Usage(1000, 5))
    books.spend(refunds, "0.05", kind="estimated", provider="simulated")
    first, second = costs("agent", user=max_)
    assert (first.group, first.amount, first.calls) == ("refunds", Decimal("0.35"), 2)
    assert (first.estimated_amount, first.estimated_calls, first.priced_calls) == (Decimal("0.05"), 1, 1)
    assert first.simulated_amount == Decimal("0.05")
    assert (first.tokens_in, first.tokens_out) == (1100, 15)
    assert (second.group, second.amount, second.calls, second.unpriced_calls) == ("desk", Decimal("0.10"), 2, 1)


def test_a_group_of_nothing_but_unpriced_calls_is_unknown_and_comes_last(max_: User) -> None:
    books.spend(books.agent("desk"), None, usage=Usage())
    books.spend(books.agent("free"), "0")
    free, desk = costs("agent", user=max_)
    assert (free.group, free.amount) == ("free", Decimal(0))
    assert (desk.amount, desk.unpriced_calls, desk.tokens_in) == (None, 1, None)


@pytest.mark.parametrize(
    ("group_by", "groups"),
    [
        ("agent", ["desk"]),
        ("team", ["service"]),
        ("use_case", [""]),
        ("model", ["gpt-4o"]),
        ("provider", ["openai"]),
        ("day", ["2026-11-20"]),
        ("hour", ["2026-11-20T13:00+01:00"]),
    ],
)
def test_costs_can_be_grouped_by(max_: User, group_by: str, groups: list[str]) -> None:
    books.spend(books.agent("desk", use_case=""))
    assert [row.group for row in costs(group_by, user=max_, zone=BERLIN)] == groups
    assert all(row.label for row in costs(group_by, user=max_))


def test_costs_by_release_name_the_agent_and_the_version(max_: User) -> None:
    desk = books.agent("desk")
    books.spend(desk)
    assert desk.release
    assert [row.group for row in costs("release", user=max_)] == [f"desk {desk.release.version}"]


def test_a_group_that_does_not_exist_is_refused_with_those_that_do(max_: User) -> None:
    with pytest.raises(
        errors.Invalid, match="'colour'; it can be agent, team, use_case, model, provider, release, day, hour"
    ):
        costs("colour", user=max_)
    with pytest.raises(errors.Invalid, match="cannot be filtered by 'colour'"):
        costs("agent", user=max_, filters={"colour": "red"})
    with pytest.raises(errors.Invalid, match="must lie before"):
        costs("agent", user=max_, since=NOON, until=NOON)


def test_the_end_of_a_stretch_of_time_is_not_part_of_it(max_: User) -> None:
    desk = books.agent()
    for minutes in (0, 30, 60):
        books.spend(desk, "1", at=NOON + timedelta(minutes=minutes))
    found = costs("agent", user=max_, since=NOON, until=NOON + timedelta(minutes=60))
    assert shown(found) == [("desk", Decimal(2), 2)]


def test_a_day_begins_at_midnight_where_the_person_is(max_: User) -> None:
    desk = books.agent()
    books.spend(desk, "1", at=datetime(2026, 11, 19, 22, 59, tzinfo=UTC))
    books.spend(desk, "2", at=datetime(2026, 11, 19, 23, 0, tzinfo=UTC))
    assert shown(costs("day", user=max_, zone=BERLIN)) == [("2026-11-20", Decimal(2), 1), ("2026-11-19", Decimal(1), 1)]
    assert shown(costs("day", user=max_, zone=UTC)) == [("2026-11-19", Decimal(3), 2)]


def test_the_hour_that_comes_twice_in_autumn_is_two_hours(max_: User) -> None:
    desk = books.agent()
    books.spend(desk, "1", at=datetime(2026, 10, 25, 0, 30, tzinfo=UTC))
    books.spend(desk, "2", at=datetime(2026, 10, 25, 1, 30, tzinfo=UTC))
    assert shown(costs("hour", user=max_, zone=BERLIN)) == [
        ("2026-10-25T02:00+01:00", Decimal(2), 1),
        ("2026-10-25T02:00+02:00", Decimal(1), 1),
    ]


def test_the_stranger_sees_no_money_of_another_team(max_: User, stranger: User) -> None:
    desk = books.agent()
    run = factories.run(desk)
    books.spend(desk, run_id=run.id)
    books.spend(books.agent("theirs", team="roastery"), "0.02", model="theirs-1")
    books.spend(desk, None, model="ours-1")
    assert shown(costs("agent", user=stranger)) == [("theirs", Decimal("0.02"), 1)]
    assert shown(costs("agent", user=stranger, filters={"agent": "desk"})) == []
    theirs = reports.entries(stranger)
    assert reports.dearest_runs(theirs, user=stranger) == []
    assert reports.unpriced(theirs) == []
    assert reports.headline(theirs, now=NOON, zone=UTC).week.amount == Decimal("0.02")
    assert shown(costs("agent", user=max_)) == [("desk", Decimal("0.01"), 2)]


def test_somebody_without_a_role_sees_nothing() -> None:
    books.spend(books.agent())
    nobody = User.objects.create_user("nobody")
    assert costs("agent", user=nobody) == []


def test_the_headline_counts_an_hour_a_day_where_the_person_is_and_seven_days(max_: User) -> None:
    desk = books.agent()
    ages = {
        "0.01": 0,
        "0.02": 59,
        "0.04": 61,
        "0.08": 13 * 60 - 1,
        "0.16": 13 * 60 + 1,
        "0.32": 6 * 24 * 60,
        "0.64": 8 * 24 * 60,
    }
    for amount, minutes in ages.items():
        books.spend(desk, amount, at=NOON - timedelta(minutes=minutes))
    books.spend(desk, None, at=NOON - timedelta(minutes=30))
    found = reports.headline(reports.entries(max_), now=NOON, zone=BERLIN)  # 13:00 there
    assert found.hour.amount == Decimal("0.03")
    assert found.today.amount == Decimal("0.15")
    assert found.week.amount == Decimal("0.63")
    assert (found.hour.unpriced_calls, found.today.unpriced_calls, found.latest) == (1, 1, NOON)


def test_without_a_call_the_headline_is_unknown_and_not_zero(max_: User) -> None:
    found = reports.headline(reports.entries(max_), now=NOON, zone=UTC)
    assert (found.hour.amount, found.today.amount, found.week.amount, found.latest) == (None, None, None, None)


def test_the_dearest_runs_come_first_and_unpriced_ones_not_at_all(max_: User) -> None:
    desk = books.agent()
    cheap, dear, unknown = factories.run(desk), factories.run(desk), factories.run(desk)
    books.spend(desk, "0.20", run_id=cheap.id)
    books.spend(desk, "0.15", run_id=dear.id, seq=1)
    books.spend(desk, "0.15", run_id=dear.id, seq=2)
    books.spend(desk, None, run_id=unknown.id)
    found = reports.dearest_runs(reports.entries(max_), user=max_)
    assert [(line.run, line.cost.amount, line.cost.calls) for line in found] == [
        (dear, Decimal("0.30"), 2),
        (cheap, Decimal("0.20"), 1),
    ]


def test_what_failed_is_paid_for_by_what_succeeded(max_: User) -> None:
    desk, idle = books.agent("desk"), books.agent("idle")
    for amount in ("0.10", "0.20"):
        books.spend(desk, amount)
    books.spend(idle, "0.05")
    AgentMinute.objects.create(agent=desk, minute=NOON, runs_completed=2, runs_failed=1)
    AgentMinute.objects.create(agent=desk, minute=NOON + timedelta(minutes=1), runs_completed=1)
    rows = costs("agent", user=max_)
    found = reports.outcomes(rows, user=max_, since=NOON, until=NOON + timedelta(hours=1))
    assert [(line.agent, line.completed, line.failed, line.each) for line in found] == [
        ("desk", 3, 1, Decimal("0.10")),
        ("idle", 0, 0, None),
    ]


def test_what_has_no_price_is_named_by_model_with_the_reason(max_: User) -> None:
    desk = books.agent()
    for seq in (1, 2):
        books.spend(desk, None, seq=seq, provider="self", model="llama")
    found = reports.unpriced(reports.entries(max_))
    assert [(line.provider, line.model, line.calls) for line in found] == [("self", "llama", 2)]


# --- periods ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", list(periods.NAMED))
def test_a_named_period_ends_now_and_its_steps_cover_it(name: str) -> None:
    period = periods.named(name, now=NOON, zone=BERLIN)
    starts = period.starts()
    assert period.until == NOON
    assert starts[0] <= period.since < starts[1]
    assert starts == sorted(set(starts))
    assert starts[-1] < period.until


def test_seven_days_are_today_and_six_before() -> None:
    period = periods.named("7d", now=NOON, zone=BERLIN)
    assert [f"{start.astimezone(BERLIN):%d %H:%M}" for start in period.starts()] == [
        f"{day} 00:00" for day in range(14, 21)
    ]


@pytest.mark.parametrize(
    ("first", "last", "sentence"),
    [
        ("yesterday", "", "`from` is a day such as 2026-11-01, not 'yesterday'."),
        ("2026-11-02", "2026-11-01", "`to` (2026-11-01) lies before `from` (2026-11-02)."),
        ("0001-01-01", "", "`from` lies between 2000-01-01 and 2099-12-31"),
        ("2026-11-01", "9999-12-31", "`to` lies between"),
    ],
)
def test_days_that_make_no_sense_are_refused_with_a_sentence(first: str, last: str, sentence: str) -> None:
    with pytest.raises(errors.Invalid) as refusal:
        periods.between(first, last, now=NOON, zone=UTC)
    assert sentence in refusal.value.message


@pytest.mark.parametrize(
    ("first", "last", "step", "count"),
    [
        ("2026-10-25", "2026-10-25", "hour", 25),
        ("2026-03-29", "2026-03-29", "hour", 23),
        ("2026-10-01", "2026-10-31", "day", 31),
        ("2026-01-01", "2026-12-31", "month", 12),
    ],
)
def test_chosen_days_are_cut_into_hours_days_or_months(first: str, last: str, step: str, count: int) -> None:
    period = periods.between(first, last, now=NOON, zone=BERLIN)
    assert (period.step, len(period.starts())) == (step, count)


moments = st.integers(0, 3 * 365 * 86400).map(
    lambda seconds: datetime(2025, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
)
zones = st.sampled_from(
    [UTC, BERLIN, ZoneInfo("Asia/Kolkata"), ZoneInfo("America/St_Johns"), ZoneInfo("Pacific/Auckland")]
)
amounts = st.decimals(0, "9999", places=8)
booked = st.lists(
    st.tuples(st.sampled_from(["desk", "refunds", "dispatch"]), amounts | st.none(), moments), max_size=25
)


class Parts(TestCase):
    """Property: however it is cut, the parts make the whole, and Python and PostgreSQL cut alike."""

    reader: User
    agents: dict[str, Agent]

    @classmethod
    def setUpTestData(cls) -> None:
        cls.reader = factories.person("max", Role.MANAGER)
        cls.agents = {slug: books.agent(slug, team=slug) for slug in ("desk", "refunds", "dispatch")}

    @settings(deadline=None, max_examples=50)
    @given(booked, zones)
    def test_the_parts_of_every_grouping_make_the_whole(
        self, calls: list[tuple[str, Decimal | None, datetime]], zone: ZoneInfo
    ) -> None:
        for slug, amount, at in calls:
            books.spend(self.agents[slug], None if amount is None else str(amount), at=at)
        whole = reports.add(*(amount for _, amount, _ in calls))
        for group_by in reports.GROUPS:
            found = reports.total(costs(group_by, user=self.reader, zone=zone))
            assert found.amount == whole
            assert found.amount is None or isinstance(found.amount, Decimal)
            assert found.calls == len(calls)
            assert found.unpriced_calls == sum(amount is None for _, amount, _ in calls)

    @settings(deadline=None, max_examples=50)
    @given(booked, zones, st.sampled_from(["7d", "30d"]), st.integers(1, 4))
    def test_a_chart_holds_every_dollar_of_its_period(
        self, calls: list[tuple[str, Decimal | None, datetime]], zone: ZoneInfo, name: str, most: int
    ) -> None:
        period = periods.named(name, now=NOON, zone=zone)
        for slug, amount, at in calls:
            near = NOON - (at - datetime(2025, 1, 1, tzinfo=UTC)) / 40
            books.spend(self.agents[slug], None if amount is None else str(amount), at=near)
        rows = reports.within(reports.entries(self.reader), period.since, period.until)
        parts = costs("agent", user=self.reader, since=period.since, until=period.until)
        drawn = reports.over_time(rows, period, of="agent", parts=parts, most=most)
        assert reports.add(*(amount for line in drawn for amount in line.amounts)) == reports.total(parts).amount
        assert len(drawn) <= most + 1
        assert all(len(line.amounts) == len(period.starts()) for line in drawn)

    @settings(deadline=None, max_examples=50)
    @given(moments, zones, st.sampled_from(["5 minutes", "hour", "day", "month"]))
    def test_the_database_and_python_agree_where_a_step_begins(self, at: datetime, zone: ZoneInfo, step: str) -> None:
        books.spend(self.agents["desk"], at=at)
        found = reports.entries(self.reader).values_list(periods.started(step, zone), flat=True).get()
        assert found == periods.floor(at, step, zone)
