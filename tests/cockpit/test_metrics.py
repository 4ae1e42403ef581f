"""`GET /metrics`, read by a parser of Prometheus's own library: who may, what it says, also when parts are away."""

import platform
import re
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone
from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics

from agents import errors
from agents.audit import log as audit
from agents.audit import sealing
from agents.llm import breakers
from agents.models import Agent, Role, Run, StepAttempt, StepTotal, TickJob, Worker
from agents.people import accounts
from agents.runs import fleet, gauges, rollups
from approvals.models import Approval
from cockpit import VERSION, environment, series
from cockpit.servers import free_port
from tests import factories
from tests.approvals import questions

pytestmark = pytest.mark.django_db
Page = dict[tuple[str, frozenset[tuple[str, str]]], float]


def page(text: str) -> Page:
    """Every value by name and labels; a name given twice with the same labels is a fault."""
    found: Page = {}
    for family in parser.text_string_to_metric_families(text):
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in found, key
            found[key] = sample.value
    return found


def scrape() -> Page:
    answer = Client().get("/metrics")
    assert answer.status_code == 200, answer.content
    return page(answer.content.decode())


def value(of: Page, name: str, /, **labels: str) -> float | None:
    return of.get((name, frozenset(labels.items())))


@pytest.fixture
def is_open(settings: Any) -> None:
    settings.METRICS_OPEN = True


def stand(agent: Agent, state: str, *, seconds: float = 0, **fields: Any) -> Run:
    """A run of that agent that has been in this state for so long."""
    run = factories.run(agent)
    Run.objects.filter(pk=run.pk).update(state=state, changed_at=timezone.now() - timedelta(seconds=seconds), **fields)
    return run


# --- who may ---------------------------------------------------------------------------------------------------------
def test_a_viewer_of_every_team_reads_it_with_a_token(db):
    _, key = accounts.create_token("prometheus", role=Role.VIEWER, owner=None, by=None)
    answer = Client().get("/metrics", headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 200
    assert answer["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert value(page(answer.content.decode()), "cockpit_database_up") == 1


@pytest.mark.parametrize("header", ["", "Bearer ck_wrong", "Basic b2xnYTpvbGdh"])
def test_nobody_else_does(header):
    answer = Client().get("/metrics", headers={"Authorization": header} if header else {})
    assert answer.status_code == 401
    assert "cockpit_" not in answer.content.decode()


def test_a_token_of_one_team_is_told_what_it_lacks(team):
    _, key = accounts.create_token("prometheus", role=Role.ADMIN, owner=None, by=None, team=team)
    answer = Client().get("/metrics", headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 403
    assert "every team" in answer.json()["error"]["message"]


def test_the_setting_opens_it_to_everybody(is_open):
    assert value(scrape(), "cockpit_build_info", version=VERSION, python=platform.python_version()) == 1


def test_it_is_only_read(is_open):
    assert Client().post("/metrics").status_code == 405


def test_who_asks_for_openmetrics_gets_it(is_open, run):
    answer = Client().get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    families = {one.name: one for one in openmetrics.text_string_to_metric_families(answer.content.decode())}
    assert families["cockpit_runs_ended"].type == "counter"


# --- what it says ----------------------------------------------------------------------------------------------------
def test_queues_are_told_by_class_without_what_nobody_may_drive(is_open, agent, olga):
    stand(agent, "queued", seconds=40)
    stand(agent, "queued", seconds=10)
    stand(agent, "queued", seconds=90, queue="tool")
    stand(factories.agent(frozen_at=timezone.now(), frozen_by=olga), "queued", seconds=900)
    told = scrape()
    assert [value(told, "cockpit_queue_depth", queue=queue) for queue in ("model", "tool", "bulk")] == [2, 1, 0]
    assert value(told, "cockpit_queue_frozen", queue="model") == 1
    assert value(told, "cockpit_queue_oldest_seconds", queue="model") == pytest.approx(40, abs=5)
    assert value(told, "cockpit_queue_oldest_seconds", queue="bulk") == 0
    assert value(told, "cockpit_runs", state="queued") == 4


def test_waiting_runs_are_told_by_what_they_wait_for(is_open, agent):
    due = timezone.now() - timedelta(seconds=20)
    stand(agent, "waiting", waits="approval", seconds=300)
    stand(agent, "waiting", waits="capacity", seconds=30)
    stand(agent, "waiting", waits="timer", seconds=60, wake_at=due)
    stand(agent, "waiting", waits="timer", wake_at=timezone.now() + timedelta(days=1))
    told = scrape()
    waiting = {word: value(told, "cockpit_runs_waiting", **{"for": word}) for word in ("approval", "capacity", "retry")}
    assert waiting == {"approval": 1, "capacity": 1, "retry": 0}
    assert value(told, "cockpit_runs_waiting_oldest_seconds", **{"for": "approval"}) == pytest.approx(300, abs=5)
    assert value(told, "cockpit_runs_waiting_capacity", queue="model") == 1
    assert value(told, "cockpit_timer_late_seconds") == pytest.approx(20, abs=5)
    assert value(told, "cockpit_runs", state="waiting") == 4


def test_looking_for_room_again_is_no_new_wait_for_capacity(is_open, agent, olga):
    now = timezone.now()
    run = stand(agent, "waiting", waits="capacity", seconds=1)
    soon = {"state": "intended", "due_at": now + timedelta(seconds=1)}
    step = factories.step(run, kind="model", created_at=now - timedelta(seconds=500), **soon)

    def told() -> float:
        browser = Client()
        browser.force_login(olga)
        (_, since) = fleet.waiting(olga)["capacity"]
        page = browser.get(f"/runs/{run.pk}/").content.decode()
        assert f'datetime="{since:%Y-%m-%dT%H:%M:%S}' in page.partition("Waiting for")[2][:80]
        for path in (f"/api/v1/runs/{run.pk}", "/runs/?as=json"):
            assert f'"waiting_since": "{since:%Y-%m-%dT%H:%M:%S}' in browser.get(path).content.decode()
        oldest = value(scrape(), "cockpit_runs_waiting_oldest_seconds", **{"for": "capacity"})
        assert oldest == pytest.approx((timezone.now() - since).total_seconds(), abs=2)
        return oldest

    assert told() == pytest.approx(500, abs=5)
    failed = {"number": 1, "started_at": now - timedelta(seconds=90), "finished_at": now - timedelta(seconds=80)}
    StepAttempt.objects.create(run=run, seq=step.seq, error_class="overloaded", error="busy", **failed)
    assert told() == pytest.approx(80, abs=5)


def test_a_run_whose_driver_is_silent_is_told(is_open, agent):
    now = timezone.now()
    stand(agent, "running", lease_until=now + timedelta(seconds=9))
    stand(agent, "running", lease_until=now - timedelta(seconds=9))
    told = scrape()
    assert value(told, "cockpit_runs", state="running") == 2
    assert value(told, "cockpit_runs_without_driver") == 1


def test_only_calls_of_driven_runs_are_in_flight(is_open, agent):
    call = {"kind": "model", "name": "llama", "provider": "local", "model": "llama"}
    since = timezone.now() - timedelta(seconds=12)
    driven, waiting = stand(agent, "running"), stand(agent, "waiting")
    factories.step(driven, **call, state="intended", started_at=since)
    factories.step(driven, **call, state="done")
    factories.step(driven, state="intended")  # a tool
    factories.step(waiting, **call, state="held")
    factories.step(waiting, **call, state="intended")
    told = scrape()
    assert value(told, "cockpit_model_calls_in_flight", provider="local", model="llama") == 1
    oldest = value(told, "cockpit_model_calls_in_flight_oldest_seconds", provider="local", model="llama")
    assert oldest == pytest.approx(12, abs=5)


def test_questions_are_told_by_kind_and_team(is_open, team):
    late = questions.held(questions.run())
    Approval.objects.filter(pk=late.pk).update(
        due_at=timezone.now() - timedelta(seconds=1), requested_at=timezone.now() - timedelta(seconds=900)
    )
    questions.held(questions.run())
    decided = questions.held(questions.run())
    Approval.objects.filter(pk=decided.pk).update(state="superseded")
    told, labels = scrape(), {"kind": "act", "team": team.slug}
    assert value(told, "cockpit_approvals_open", **labels) == 2
    assert value(told, "cockpit_approvals_overdue", **labels) == 1
    assert value(told, "cockpit_approvals_oldest_seconds", **labels) == pytest.approx(900, abs=5)


def test_only_the_busiest_agents_are_named_and_all_are_counted(is_open, team, monkeypatch):
    monkeypatch.setattr(gauges, "MOST_AGENTS", 2)
    for slug, runs in (("idle", 0), ("quiet", 1), ("busy", 2), ("busiest", 3)):
        of = factories.agent(slug, of=team)
        for _ in range(runs):
            stand(of, "queued")
    told = scrape()
    named = {dict(labels)["agent"] for name, labels in told if name == "cockpit_agent_runs"}
    assert named == {"busy", "busiest"}
    assert value(told, "cockpit_agents_busy") == 3
    assert value(told, "cockpit_agent_runs", agent="busiest", state="queued") == 3


def test_processes_are_told_while_they_live(is_open):
    now = timezone.now()
    for name, kind, age, driving, slots, queues in [
        ("w1", "worker", 1, 5, 16, "control,model"),
        ("w2", "worker", 2, 3, 16, "control,model"),
        ("dead", "worker", 60, 9, 16, "control,model"),
        ("t", "tick", 4, 0, 0, ""),
    ]:
        seen = {"kind": kind, "host": "here", "pid": 1, "seen_at": now - timedelta(seconds=age)}
        Worker.objects.create(name=name, driving=driving, slots=slots, queues=queues, **seen)
    TickJob.objects.create(name="sweep", ran_at=now - timedelta(seconds=7), late_s=1.5, took_s=0.25, failures=3)
    told = scrape()
    assert value(told, "cockpit_processes_alive", kind="worker") == 2
    assert value(told, "cockpit_worker_slots", queues="control,model") == 32
    assert value(told, "cockpit_worker_driving", queues="control,model") == 8
    assert value(told, "cockpit_tick_age_seconds") == pytest.approx(4, abs=3)
    assert value(told, "cockpit_tick_job_age_seconds", job="sweep") == pytest.approx(7, abs=3)
    assert value(told, "cockpit_tick_job_late_seconds", job="sweep") == 1.5
    assert value(told, "cockpit_tick_job_duration_seconds", job="sweep") == 0.25
    assert value(told, "cockpit_tick_job_failures_total", job="sweep") == 3


def test_where_there_was_never_a_tick_its_age_is_absent_and_not_zero(is_open):
    told = scrape()
    assert value(told, "cockpit_tick_age_seconds") is None
    assert value(told, "cockpit_processes_alive", kind="tick") == 0


def test_an_open_breaker_is_told(is_open):
    breakers.forget()
    down = errors.OutsideError("no", kind="connection", permanent=False)
    for _ in range(5):
        breakers.report_now(breakers.admit_now("tool:parcels.find"), down)
    told = scrape()
    states = {
        state: value(told, "cockpit_breaker_state", kind="tool", name="parcels.find", state=state)
        for state in ("closed", "open", "half_open")
    }
    breakers.forget()
    assert states == {"closed": 0, "open": 1, "half_open": 0}


@pytest.mark.django_db(transaction=True)
def test_how_far_the_audit_log_is_sealed_is_told(is_open, olga):
    audit.record("person.seen", about=olga, by=olga)
    before = scrape()
    waiting = value(before, "cockpit_audit_unsealed_entries")
    assert waiting
    assert value(before, "cockpit_audit_unsealed_age_seconds") < 60
    sealing.seal()
    after = scrape()
    assert value(after, "cockpit_audit_unsealed_entries") == 0
    assert value(after, "cockpit_audit_unsealed_age_seconds") == 0
    assert value(after, "cockpit_audit_sealed_entries_total") == waiting


# --- counters --------------------------------------------------------------------------------------------------------
def _ended(run: Run, **fields: Any) -> None:
    now = timezone.now()
    factories.step(run, **{"started_at": now - timedelta(seconds=1.5), "finished_at": now, **fields})


@pytest.mark.django_db(transaction=True)
def test_counters_rise_with_the_work_and_stay_when_it_is_deleted(is_open, run):
    call = {"kind": "model", "provider": "local", "model": "llama", "tokens_in": 100, "tokens_out": 20}
    _ended(run, **call, cost=Decimal("0.25"), cost_kind="priced")
    _ended(run, state="failed", error_class="Timeout")
    run.move(to="failed", failure_class="limit")
    rollups.roll_up()
    before = scrape()
    model = {"provider": "local", "model": "llama"}
    assert value(before, "cockpit_steps_total", kind="model", state="done") == 1
    assert value(before, "cockpit_step_errors_total", kind="tool", error="Timeout") == 1
    assert value(before, "cockpit_model_tokens_total", **model, direction="in") == 100
    assert value(before, "cockpit_model_tokens_total", **model, direction="out") == 20
    assert value(before, "cockpit_model_cost_usd_total", **model) == 0.25
    assert value(before, "cockpit_model_calls_unpriced_total", **model) == 0
    assert value(before, "cockpit_runs_ended_total", state="failed") == 1
    assert value(before, "cockpit_run_failures_total", failure="limit") == 1
    assert value(before, "cockpit_totals_age_seconds") < 10
    run.steps.all().delete()
    run.delete()
    rollups.roll_up()
    after = scrape()
    kept = {key: number for key, number in before.items() if key[0].endswith(("_total", "_count", "_sum", "_bucket"))}
    assert len(kept) > 20
    assert {key: after[key] for key in kept} == kept


@pytest.mark.django_db(transaction=True)
def test_durations_are_histograms(is_open, run):
    for seconds in (0.01, 1.5, 4000):
        _ended(run, started_at=timezone.now() - timedelta(seconds=seconds))
    rollups.roll_up()
    told = scrape()
    buckets = {
        le: value(told, "cockpit_step_duration_seconds_bucket", kind="tool", le=le) for le in ("1.0", "2.0", "3600.0")
    }
    assert buckets == {"1.0": 1, "2.0": 2, "3600.0": 2}
    assert value(told, "cockpit_step_duration_seconds_bucket", kind="tool", le="+Inf") == 3
    assert value(told, "cockpit_step_duration_seconds_count", kind="tool") == 3
    assert value(told, "cockpit_step_duration_seconds_sum", kind="tool") == pytest.approx(4001.51, abs=1)


def test_what_is_other_stays_other_when_a_rare_error_becomes_common(is_open, monkeypatch):
    monkeypatch.setattr(series, "MOST_WORDS", 2)
    for error, count in (("First", 1), ("Second", 2), ("Third", 3), ("Fourth", 4)):
        StepTotal.objects.create(kind="tool", state="failed", error_class=error, count=count)

    def told() -> dict[str, float]:
        found = scrape().items()
        return {dict(labels)["error"]: count for (name, labels), count in found if name == "cockpit_step_errors_total"}

    assert told() == {"First": 1, "Second": 2, "other": 7}
    StepTotal.objects.filter(error_class="Fourth").update(count=400)
    assert told() == {"First": 1, "Second": 2, "other": 403}


# --- when parts are away ---------------------------------------------------------------------------------------------
def test_without_redis_everything_that_the_database_knows_is_told(is_open, run, settings):
    settings.REDIS_URL = f"redis://127.0.0.1:{free_port()}/0"
    told = scrape()
    assert (value(told, "cockpit_redis_up"), value(told, "cockpit_database_up")) == (0, 1)
    assert value(told, "cockpit_queue_depth", queue="model") == 1


def test_without_the_database_an_open_page_says_so(is_open, settings):
    settings.DATABASE_URL = f"postgresql://cockpit:secret@127.0.0.1:{free_port()}/cockpit"
    told = scrape()
    assert (value(told, "cockpit_redis_up"), value(told, "cockpit_database_up")) == (1, 0)
    assert value(told, "cockpit_queue_depth", queue="model") is None, "unknown is not zero"


def test_without_the_database_a_token_cannot_be_checked(settings):
    settings.DATABASE_URL = f"postgresql://cockpit:secret@127.0.0.1:{free_port()}/cockpit"
    answer = Client().get("/metrics", headers={"Authorization": "Bearer ck_whatever"})
    assert answer.status_code == 503
    assert "secret" not in answer.content.decode()


@pytest.mark.django_db(transaction=True)
def test_a_part_that_cannot_be_told_in_time_costs_only_itself(is_open, run):
    parameters = connection.get_connection_params()
    target = {name: parameters[name] for name in ("dbname", "user", "password", "host", "port") if parameters[name]}
    with psycopg.connect(**target) as other:
        other.execute("LOCK TABLE agents_tickjob IN ACCESS EXCLUSIVE MODE")
        told = scrape()
    assert value(told, "cockpit_metrics_part_up", part="clock") == 0
    assert value(told, "cockpit_tick_job_age_seconds", job="sweep") is None
    assert value(told, "cockpit_timer_late_seconds") is None
    assert value(told, "cockpit_metrics_part_up", part="totals") == 1
    assert value(told, "cockpit_queue_depth", queue="model") == 1


# --- what it is called -----------------------------------------------------------------------------------------------
def _names(text: str) -> dict[str, str]:
    """The series of a page as they are asked for, and their types."""
    found = {}
    for name, kind in re.findall(r"^# TYPE (\S+) (\w+)$", text, re.M):
        found[name] = kind
    return found


def test_names_are_as_prometheus_wants_them(is_open, run):
    text = Client().get("/metrics").content.decode()
    for name, kind in _names(text).items():
        assert re.fullmatch(r"cockpit_[a-z_]+", name), name
        assert (kind == "counter") == name.endswith("_total"), name
        assert not re.search(r"_(ms|minutes|percent|millis)\b", name), name
        assert re.search(rf"^# HELP {name} \S.*\.$", text, re.M), f"{name} says nothing"


def test_every_series_is_in_the_documentation_and_no_other(is_open):
    told = (Path(environment.ROOT) / "docs" / "operations.md").read_text()
    table = told.split("<!-- series:")[1].split("<!-- end of series -->")[0]
    assert set(re.findall(r"^\| `(\w+)`", table, re.M)) == set(_names(Client().get("/metrics").content.decode()))
    used = set(re.findall(r"\bcockpit_[a-z_]+", told))
    assert used <= set(re.findall(r"`(cockpit_\w+)`", table)), "an example asks for a series that does not exist"


def test_the_version_is_that_of_the_project():
    assert f'version = "{VERSION}"' in (Path(environment.ROOT) / "pyproject.toml").read_text()
