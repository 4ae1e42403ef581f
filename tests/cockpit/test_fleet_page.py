"""The fleet page: a verdict from evidence, at a cost that does not grow with the fleet."""

import re
import time
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from agents import errors
from agents.llm import breakers, circuit
from agents.models import Agent, AgentMinute, Role, Run, Team, User, Watermark, Worker
from agents.runs import fleet as evidence
from agents.runs import interventions
from cockpit import fleet, verdict
from tests import factories

pytestmark = pytest.mark.django_db
MINUTES = 60


@pytest.fixture
def client(olga: User) -> Client:
    """A browser in which olga is signed in."""
    browser = Client()
    browser.force_login(olga)
    return browser


@pytest.fixture
def alive() -> None:
    """One worker and one tick that have just shown a sign of life, and figures that have just been counted."""
    for kind in (Worker.Kind.WORKER, Worker.Kind.TICK):
        Worker.objects.create(name=f"{kind}:here:1", kind=kind, host="here", pid=1)
    Watermark.objects.create(name="agent_minutes", xid=1)


def minute(agent: Agent, **figures: Any) -> AgentMinute:
    """What an agent did in this minute."""
    now = timezone.now().replace(second=0, microsecond=0)
    return AgentMinute.objects.create(**{"agent": agent, "minute": now, "steps": 3} | figures)


def text(client: Client, path: str = "/") -> str:
    """The page as one reads it."""
    page = client.get(path)
    assert page.status_code == 200
    return " ".join(page.content.decode().split())


def driven(run: Run, *, seconds: int) -> Run:
    """A run whose driver shows a sign of life until so many seconds from now."""
    until = timezone.now() + timedelta(seconds=seconds)
    Run.objects.filter(pk=run.pk).update(state=Run.State.RUNNING, lease_until=until, lease_holder="here:1")
    return run


def test_an_empty_fleet_says_that_nothing_is_known_and_what_to_do_first(client: Client, team: Team) -> None:
    page = text(client)
    assert "no run has ended in 24 h" in page
    assert "nothing counted yet" in page  # no tick has ever run here
    assert "manage.py agent new desk" in page


def test_work_flows_only_while_somebody_alive_does_it(client: Client, run: Run, alive: None) -> None:
    assert "0 running, the oldest of 1 queued waits" in text(client)
    Worker.objects.filter(kind=Worker.Kind.WORKER).update(seen_at=timezone.now() - timedelta(minutes=5))
    page = text(client)
    assert '<span class="state bad">No</span>' in page
    assert "no worker is alive, 1 runs stand still" in page


def test_a_run_that_waits_long_for_a_worker_means_slowly(client: Client, run: Run, alive: None) -> None:
    Run.objects.update(changed_at=timezone.now() - timedelta(seconds=45))
    assert '<span class="state warn">Slowly</span>' in text(client)


def test_waiting_for_people_for_room_and_for_time_are_three_things(client: Client, agent: Agent, alive: None) -> None:
    for waits in ("approval", "decision", "capacity", "retry", "timer", "delegation", "outside"):
        waiting = factories.run(agent)
        Run.objects.filter(pk=waiting.pk).update(state=Run.State.WAITING, waits=waits)
    page = text(client)
    assert ">2</b>" in page.partition("Waiting</span>")[2][:60]
    assert '?q=waits:decision">1 waits for an operator to say how to go on</a>, 1 waits for capacity, the' in page
    assert "2 for time to pass, 1 for runs they delegated" in page


def test_what_keeps_failing_is_named_with_why_and_until_when(client: Client, team: Team, alive: None) -> None:
    assert "Left alone" not in text(client)
    for _ in range(circuit.FAILURES):
        permit = breakers.admit_now("openai/gpt-5")
        gone = errors.OutsideError("nobody answers", kind="connection", permanent=False)
        breakers.report_now(permit, gone)
    page = text(client)
    assert "openai/gpt-5" in page.partition("Left alone")[2]
    assert "5 failures in a row" in page
    assert "nobody answers" in page


def test_what_is_due_to_be_probed_is_no_longer_open_and_after_long_no_news(
    client: Client, alive: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(circuit, "FIRST_COOL_DOWN", 0.0)
    for _ in range(circuit.FAILURES):
        gone = errors.OutsideError("nobody answers", kind="connection", permanent=False)
        breakers.report_now(breakers.admit_now("tool:carrier.book"), gone)
    (known,) = breakers.states()
    assert (known.state, known.is_due, known.name) == ("half_open", True, "tool carrier.book")
    page = text(client)
    assert '<span class="state warn">to be probed</span> <b>tool carrier.book</b>' in page
    assert "the next call is the probe" in page
    monkeypatch.setattr(verdict, "FORGOTTEN", timedelta(0))
    assert "carrier.book" not in text(client)


def test_an_agent_whose_driver_fell_silent_is_unresponsive_and_never_working(
    client: Client, run: Run, alive: None
) -> None:
    driven(run, seconds=5)
    assert '<span class="state busy">working</span>' in text(client)
    driven(run, seconds=-5)
    page = text(client)
    assert '<span class="state bad">unresponsive</span>' in page
    assert "working" not in page
    assert "1 run lost the worker, another one takes over" in page


def test_a_worker_that_fell_silent_with_runs_in_its_hands_is_named(client: Client, agent: Agent, alive: None) -> None:
    gone = timezone.now() - timedelta(seconds=40)
    Worker.objects.create(name="attic:77", kind="worker", host="attic", pid=77, driving=2, seen_at=gone)
    page = text(client)
    words = re.sub("<[^>]+>", "", page)
    assert "1 worker alive, one on attic (pid 77) fell silent 40 s ago with 2 runs, which" in words


@pytest.mark.parametrize(("minutes", "hue"), [(0, "ok"), (0.5, "warn"), (5, "bad")])
def test_old_figures_are_not_called_fresh(olga: User, alive: None, minutes: float, hue: str) -> None:
    Watermark.objects.update(moved_at=timezone.now() - timedelta(minutes=minutes))
    assert fleet.look(olga)["fresh"]["hue"] == hue


@pytest.fixture
def failing(team: Team, olga: User, alive: None) -> Agent:
    """An agent of whose runs most fail in the same step, beside one whose runs succeed."""
    found = factories.agent("dispatch", of=team)
    minute(found, runs_completed=4, runs_failed=6)
    for _ in range(6):
        run = factories.run(found, by=olga)
        now = timezone.now()
        factories.step(run, name="carrier.book", state="failed", error_class="carrier_down", finished_at=now)
        Run.objects.filter(pk=run.pk).update(state="failed", failure_class="step_failed", finished_at=now)
    minute(factories.agent("desk", of=team), runs_completed=90)
    return found


def test_the_verdict_names_the_exception_and_its_likely_cause(client: Client, failing: Agent) -> None:
    page = text(client)
    assert "dispatch 40.0" in page
    assert "everyone else 100" in page
    assert "carrier.book fails with <code>carrier_down</code> in 6 of the last 6 failed runs of dispatch" in page
    assert f'action="/agents/{failing.slug}/freeze/"' in page


def test_who_may_not_freeze_is_not_offered_it(failing: Agent, max_: User) -> None:
    browser = Client()
    browser.force_login(max_)
    page = text(browser)
    assert "Likely cause" in page
    assert "Freeze dispatch" not in page


def test_a_frozen_agent_reads_so_and_is_not_offered_to_be_frozen_again(
    client: Client, failing: Agent, olga: User
) -> None:
    interventions.freeze(failing, by=olga, reason="the carrier is down", request_id=uuid4())
    page = text(client)
    assert '<span class="state still">frozen by olga</span>' in page
    assert "It is frozen since" in page
    assert "Freeze dispatch" not in page


def test_unknown_is_never_nothing(client: Client, agent: Agent, alive: None) -> None:
    minute(agent, model_calls=3, unpriced=3)
    page = text(client)
    assert "unpriced" in page
    assert page.count("unknown") >= 2  # confidence, tokens
    minute_of = AgentMinute.objects.get()
    minute_of.tokens_in, minute_of.cost, minute_of.unpriced = 1200, Decimal("0.05"), 0
    minute_of.save()
    page = text(client)
    assert "1,200" in page
    assert "$0.05 of it" in page  # the factory's agents ask a simulated model, and the page says whose money that is


def test_a_team_narrows_everything_the_page_says(client: Client, failing: Agent, olga: User) -> None:
    other = factories.team("kitchen")
    olga.memberships.create(role=Role.VIEWER, team=other)
    minute(factories.agent("oven", of=other), runs_completed=10)
    page = text(client, "/?team=kitchen")
    assert "oven" in page
    assert "dispatch" not in page
    assert "Likely cause" not in page
    assert "1 registered" in page


def test_a_stranger_sees_none_of_it(failing: Agent, stranger: User) -> None:
    browser = Client()
    browser.force_login(stranger)
    page = text(browser)
    assert "dispatch" not in page
    assert "0 registered" in page


def test_htmx_is_given_what_changes_and_nothing_else(client: Client, agent: Agent) -> None:
    part = client.get("/", headers={"HX-Request": "true", "HX-Target": "now"})
    assert part.content.decode().lstrip().startswith('<div id="now"')
    assert {"HX-Request", "HX-Target"} <= {name.strip() for name in part["Vary"].split(",")}


@pytest.mark.parametrize(
    ("open_runs", "figures", "more", "expected"),
    [
        ({}, {}, {}, ("still", "no work in 24 h")),
        ({}, {"steps": 1}, {}, ("ok", "ready")),
        ({}, {"steps": 1}, {"is_published": False}, ("still", "not published")),
        ({"running": 2}, {}, {}, ("busy", "working")),
        ({"running": 2}, {}, {"lost": 1}, ("warn", "1 unresponsive")),
        ({"running": 2}, {}, {"lost": 2}, ("bad", "unresponsive")),
        ({"running": 2, "waiting": 3}, {}, {}, ("wait", "3 waiting")),
        ({"queued": 4}, {}, {}, ("busy", "4 queued")),
        ({"paused": 1}, {}, {}, ("still", "1 paused")),
        ({"running": 2}, {"runs_completed": 1, "runs_failed": 3}, {}, ("busy", "working")),  # too few to say
        ({"running": 2}, {"runs_completed": 1, "runs_failed": 4}, {}, ("bad", "failing")),
        ({"running": 2}, {"runs_failed": 9}, {"lost": 2, "frozen_by": "olga"}, ("still", "frozen by olga")),
    ],
)
def test_a_status_is_derived_from_evidence(
    open_runs: dict[str, int], figures: dict[str, int], more: dict[str, Any], expected: tuple[str, str]
) -> None:
    assert evidence.status(open_runs, evidence.Recent(**figures), **more) == expected


CROWD = """
WITH made AS (
    INSERT INTO agents_agent (id, slug, name, team_id, purpose, use_case, environment, created_at, frozen_reason)
    SELECT gen_random_uuid(), 'crowd-' || %(number)s || '-' || one, 'Crowd ' || one, %(team)s, '', '', 'live', now(), ''
    FROM generate_series(1, %(number)s) one RETURNING id
)
INSERT INTO agents_agentminute (agent_id, minute, runs_completed, runs_failed, runs_cancelled, steps, model_calls,
    tool_calls, step_errors, refusals, holds, tokens_in, tokens_out, cost, unpriced, confidence_sum, confidence_count,
    run_seconds, step_seconds)
SELECT id, date_trunc('minute', now()) - ago * interval '1 minute', 1, 0, 0, 5, 2, 3, 0, 0, 0, 900, 90, 0.01, 0, 0.8, 1,
    array_fill(1, ARRAY[14]), array_fill(1, ARRAY[14])
FROM made, generate_series(0, %(minutes)s - 1) ago
"""


def crowd(team: Team, number: int) -> None:
    """So many agents that were all busy for the last hour."""
    with connection.cursor() as cursor:
        cursor.execute(CROWD, {"number": number, "team": team.pk, "minutes": MINUTES})
        cursor.execute("ANALYZE agents_agentminute, agents_agent")


def test_two_thousand_busy_agents_take_no_more_queries_and_stay_quick(
    client: Client, olga: User, team: Team, alive: None
) -> None:
    crowd(team, 10)
    with CaptureQueriesContext(connection) as few:
        text(client)
    crowd(team, 2000)
    with CaptureQueriesContext(connection) as many:
        page = text(client)
    assert len(many) <= len(few)
    assert "2,010 registered" in page
    assert "1,950 more agents" in page
    assert len(page) < 100_000
    started = time.perf_counter()
    text(client)
    assert time.perf_counter() - started < 2.0  # a quarter of a second on a quiet machine
