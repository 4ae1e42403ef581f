"""Runs through the API: started, watched and steered as on the pages, by the same functions."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from uuid_utils.compat import uuid7

from agents.models import Agent, AuditEntry, Control, Run, Team, Touch
from agents.runs.shapes import earliest_id
from tests import factories
from tests.api import stage
from tests.api.stage import Caller

WHEN = datetime(2025, 11, 21, 9, 30, 0, 123456, tzinfo=UTC)


# --- starting ---------------------------------------------------------------------------------------------------------
def test_a_started_run_is_queued_and_answers_with_everything_it_was_given(operator: Caller, agent: Agent) -> None:
    answer = operator.post(
        "/runs",
        {
            "agent": "desk",
            "objective": " Ticket 882. ",
            "input": {"ticket": 882},
            "deadline_at": "2031-01-01T00:00:00+02:00",
        },
        status=201,
    )
    run = Run.objects.get()
    assert answer["id"] == str(run.pk)
    assert (answer["state"], answer["agent"], answer["team"]) == ("queued", "desk", "service")
    assert (answer["objective"], answer["input"]) == ("Ticket 882.", {"ticket": 882})
    assert (answer["started_by"], answer["simulated"]) == ("night-watch", True)
    assert answer["deadline_at"] == "2030-12-31T22:00:00.000Z"
    assert (answer["cost"], answer["steps_done"], answer["result"], answer["started_at"]) == ("0.00", 0, None, None)
    assert answer == operator.get(f"/runs/{run.pk}")


def test_the_same_request_id_starts_one_run(operator: Caller, agent: Agent) -> None:
    body = {"agent": "desk", "objective": "Once.", "request_id": str(uuid7())}
    first = operator.post("/runs", body, status=201)
    assert operator.post("/runs", body, status=201) == first
    assert Run.objects.count() == 1


def test_a_request_id_of_another_agents_run_is_a_conflict(operator: Caller, agent: Agent, team: Team) -> None:
    factories.agent("dispatch", of=team)
    body = {"agent": "desk", "objective": "Once.", "request_id": str(uuid7())}
    operator.post("/runs", body, status=201)
    error = operator.refused("POST", "/runs", {**body, "agent": "dispatch"}, status=409, code="conflict")
    assert error["field"] == "request_id"
    assert Run.objects.count() == 1


def test_a_run_of_a_release_that_is_named(operator: Caller, agent: Agent) -> None:
    other = factories.release(agent)
    answer = operator.post("/runs", {"agent": "desk", "objective": "x", "release": other.version}, status=201)
    assert answer["release"] == other.version
    error = operator.refused(
        "POST", "/runs", {"agent": "desk", "objective": "x", "release": "9.9"}, status=422, code="invalid"
    )
    assert error["field"] == "release"
    assert "9.9" in error["message"]


@pytest.mark.parametrize(
    ("change", "field", "says"),
    [
        ({"objective": "  "}, "objective", "objective"),
        ({"objective": None}, "objective", "must be a text"),
        ({"input": [1]}, "input", "must be a JSON object"),
        ({"queue": "fast"}, "queue", "model, tool, control, bulk or outside"),
        ({"request_id": "17"}, "request_id", "must be a UUID"),
        ({"deadline_at": "tomorrow"}, "deadline_at", "such as 2025-11-21T09:30:00Z"),
        ({"deadline_at": "2025-11-21T09:30:00"}, "deadline_at", "with its zone"),
        ({"deadline_at": 1763717400}, "deadline_at", "with its zone"),
        ({"deadline_at": "0001-01-01T00:00:00+14:00"}, "deadline_at", "no time in any calendar"),
        ({"deadline_at": "2025-02-30T00:00:00Z"}, "deadline_at", "no time in any calendar"),
        ({"objektive": "x"}, "objektive", "is not known here; this takes agent, objective, input"),
    ],
)
def test_what_is_wrong_with_a_new_run_is_said_in_one_sentence(
    operator: Caller, agent: Agent, change: dict[str, Any], field: str, says: str
) -> None:
    body = {"agent": "desk", "objective": "Ticket 882.", **change}
    error = operator.refused("POST", "/runs", body, status=422, code="invalid")
    assert error["field"] == field
    assert says in error["message"]
    assert not Run.objects.exists()


def test_a_misspelt_field_explains_the_missing_one(operator: Caller, agent: Agent) -> None:
    error = operator.refused("POST", "/runs", {"agnet": "desk", "objective": "x"}, status=422, code="invalid")
    assert error["field"] == "agnet"
    missing = operator.refused("POST", "/runs", {"objective": "x"}, status=422, code="invalid")
    assert (missing["field"], missing["message"]) == ("agent", "`agent` is required.")


def test_an_agent_without_a_release_cannot_start(operator: Caller, agent: Agent) -> None:
    Agent.objects.update(release=None)
    error = operator.refused("POST", "/runs", {"agent": "desk", "objective": "x"}, status=409, code="conflict")
    assert "no live release" in error["message"]


# --- lists ------------------------------------------------------------------------------------------------------------
def test_runs_come_newest_first_page_by_page_and_none_is_lost(viewer: Caller, agent: Agent) -> None:
    made = [str(factories.run(agent, objective=f"{number}").pk) for number in range(7)]
    assert [item["id"] for item in viewer.all("/runs", limit=3)] == made[::-1]
    assert [item["id"] for item in viewer.all("/runs", limit=7)] == made[::-1]


def test_what_is_added_while_one_reads_neither_shifts_nor_repeats(viewer: Caller, agent: Agent) -> None:
    made = [str(factories.run(agent).pk) for _ in range(4)]
    page = viewer.get("/runs?limit=2")
    factories.run(agent)
    rest = viewer.get(f"/runs?limit=2&cursor={page['next_cursor']}")
    assert [item["id"] for item in page["items"] + rest["items"]] == made[::-1]


def test_filters_of_runs(viewer: Caller, agent: Agent, team: Team) -> None:
    queued = factories.run(agent)
    failed = stage.ended(factories.run(agent), "failed", failure_class="limit:cost", failure="It cost too much.")
    sandbox = factories.run(factories.agent("trial", of=team, environment="sandbox"))

    def found(query: str) -> set[str]:
        return {item["id"] for item in viewer.get(f"/runs?{query}")["items"]}

    assert found("state=failed") == {str(failed.pk)}
    assert found("state=failed,queued") == {str(queued.pk), str(failed.pk), str(sandbox.pk)}
    assert found("state=failed&state=queued&agent=desk") == {str(queued.pk), str(failed.pk)}
    assert found("agent=trial,desk&state=queued") == {str(queued.pk), str(sandbox.pk)}
    assert found("environment=sandbox") == {str(sandbox.pk)}
    assert viewer.get("/runs?state=failed")["items"][0]["failure_class"] == "limit:cost"


def test_runs_since_and_until(viewer: Caller, agent: Agent) -> None:
    for hours in (0, 1, 2):
        at = WHEN + timedelta(hours=hours)
        run = factories.run(agent, objective=str(hours))
        pk = UUID(int=earliest_id(at).int + 5)
        Run.objects.filter(pk=run.pk).update(id=pk, created_at=at)

    def found(query: str) -> list[str]:
        return [item["objective"] for item in viewer.get(f"/runs?{query}")["items"]]

    assert found("since=2025-11-21T10:30:00.123Z") == ["2", "1"]
    assert found("since=2025-11-21T10:30:00.124Z") == ["2"]
    assert found("until=2025-11-21T11:30:00.123Z&since=2025-11-21T09:30:00Z") == ["1", "0"]
    assert found("until=1960-01-01T00:00:00Z") == []


def test_an_unknown_state_or_agent_is_refused_with_what_would_be_right(viewer: Caller, agent: Agent) -> None:
    error = viewer.refused("GET", "/runs?state=runing,queued", status=422, code="invalid")
    assert error["field"] == "state"
    assert error["message"] == (
        '`state` cannot be "runing"; it can be queued, running, waiting, paused, compensating, completed, failed or '
        "cancelled."
    )
    assert viewer.refused("GET", "/runs?agent=desk,dsek", status=422, code="invalid")["field"] == "agent"


def test_the_number_of_queries_does_not_grow_with_the_list(
    viewer: Caller, agent: Agent, django_assert_num_queries: Any
) -> None:
    for _ in range(3):
        factories.run(agent)
    viewer.get("/runs")  # notes that the token was used
    with django_assert_num_queries(3):  # the token, its memberships, the runs
        assert len(viewer.get("/runs?state=queued")["items"]) == 3
    for _ in range(9):
        factories.run(agent)
    with django_assert_num_queries(3):
        assert len(viewer.get("/runs?state=queued")["items"]) == 12


# --- one run ----------------------------------------------------------------------------------------------------------
def test_unknown_tokens_and_costs_are_null_and_a_known_zero_stays_zero(viewer: Caller, agent: Agent) -> None:
    silent, told, free = (factories.run(agent) for _ in range(3))
    stage.step(silent, kind="model", name="gpt")
    Run.objects.filter(pk=silent.pk).update(unpriced=1)
    stage.step(told, kind="model", name="gpt", tokens_in=12, tokens_out=3, cost=Decimal("0.012"))
    Run.objects.filter(pk=told.pk).update(tokens_in=12, tokens_out=3, cost=Decimal("0.012"), unpriced=1)
    stage.step(free)

    def figures(run: Run) -> tuple[Any, ...]:
        item = viewer.get(f"/runs/{run.pk}")
        return item["tokens_in"], item["tokens_out"], item["cost"], item["unpriced"]

    assert figures(silent) == (None, None, None, 1)
    assert figures(told) == (12, 3, "0.012", 1)
    assert figures(free) == (0, 0, "0.00", 0)


def test_steps_show_what_went_in_what_came_out_and_what_they_touched(viewer: Caller, run: Run) -> None:
    stage.step(run, kind="model", name="gpt", input={"messages": [{"role": "user"}], "known": 0}, cost=Decimal("0.1"))
    stage.step(
        run,
        name="payments.refund",
        state="held",
        tier=3,
        writes=True,
        says="Refund €184.00.",
        confidence=0.62,
        confidence_source="self_reported",
        input={"arguments": {"order": "4711"}},
        answer={
            "kind": "rejected",
            "by_id": str(uuid4()),
            "by_name": "rhea",
            "reason": "No photo.",
            "arguments": None,
            "outcome": None,
            "approval_id": None,
        },
    )
    Touch.objects.create(
        run=run, seq=2, kind="order", record="4711", amount=Decimal("184.00"), currency="EUR", undoable_until=WHEN
    )
    model, tool = viewer.get(f"/runs/{run.pk}/steps")["items"]
    assert (model["seq"], model["cost"], model["tokens_in"], model["tier"]) == (1, "0.10", None, None)
    assert model["confidence"] == {"value": None, "source": "unknown"}
    assert model["input"] == {"messages": [{"role": "user"}], "known": 0}
    assert tool["confidence"] == {"value": 0.62, "source": "self_reported"}
    assert (tool["input"], tool["output"]) == ({"arguments": {"order": "4711"}}, None)
    assert tool["answer"]["by"] == "rhea"
    assert tool["answer"]["reason"] == "No photo."
    assert tool["touches"] == [
        {
            "kind": "order",
            "record": "4711",
            "customer": None,
            "amount": "184.00",
            "currency": "EUR",
            "undoable_until": "2025-11-21T09:30:00.123Z",
        }
    ]


def test_steps_are_filtered_paged_in_order_and_light_on_request(
    viewer: Caller, run: Run, django_assert_num_queries: Any
) -> None:
    for number in range(5):
        stage.step(
            run, kind="model" if number % 2 else "tool", state="failed" if number == 4 else "done", output=number
        )
    assert [step["seq"] for step in viewer.all(f"/runs/{run.pk}/steps", limit=2)] == [1, 2, 3, 4, 5]
    assert [step["seq"] for step in viewer.get(f"/runs/{run.pk}/steps?kind=tool&state=done")["items"]] == [1, 3]
    assert [step["output"] for step in viewer.get(f"/runs/{run.pk}/steps?payload=false")["items"]] == [None] * 5
    with django_assert_num_queries(7):  # token, memberships, run, steps, payloads, touches, tries
        viewer.get(f"/runs/{run.pk}/steps")


def test_a_run_that_took_an_act_back_says_so_and_names_the_steps(viewer: Caller, run: Run) -> None:
    stage.step(run, kind="tool", writes=True)
    stage.step(run, kind="tool", writes=True, compensates=1)
    assert viewer.get(f"/runs/{run.pk}")["ending"] is None
    Run.objects.filter(pk=run.pk).update(
        ending={"state": "failed", "failure_class": "limit:steps", "failure": "Enough.", "result": None}
    )
    told = {"state": "failed", "failure_class": "limit:steps", "failure": "Enough.", "taken_back": 1, "left": 0}
    assert viewer.get(f"/runs/{run.pk}")["ending"] == told
    steps = viewer.get(f"/runs/{run.pk}/steps")["items"]
    assert [(step["compensates"], step["taken_back_by"]) for step in steps] == [(None, 2), (1, None)]


# --- steering ---------------------------------------------------------------------------------------------------------
def test_pause_resume_and_cancel_do_what_they_say_and_say_who_asked(operator: Caller, run: Run) -> None:
    asked = str(uuid7())
    paused = operator.post(f"/runs/{run.pk}/pause", {"reason": "The carrier is down.", "request_id": asked})
    assert (paused["verb"], paused["state"], paused["run"], paused["agent"]) == ("pause", "paused", str(run.pk), None)
    assert (paused["by"], paused["reason"]) == ("night-watch", "The carrier is down.")
    assert paused["obeyed_at"] is not None
    assert operator.get(f"/runs/{run.pk}")["last_control"] == paused
    resumed = operator.delete(f"/runs/{run.pk}/pause", {"reason": "It is back."})
    assert (resumed["verb"], resumed["state"], resumed["reason"]) == ("resume", "queued", "It is back.")
    cancelled = operator.post(f"/runs/{run.pk}/cancellation", {"reason": "The customer withdrew."})
    assert (cancelled["verb"], cancelled["state"]) == ("cancel", "cancelled")
    verbs = AuditEntry.objects.filter(subject_id=str(run.pk), by__username="night-watch").order_by("id")
    assert list(verbs.values_list("verb", flat=True)) == ["run.pause", "run.resume", "run.cancel"]


def test_a_run_in_flight_is_asked_and_obeys_later(operator: Caller, run: Run) -> None:
    until = datetime.now(UTC) + timedelta(seconds=9)
    Run.objects.filter(pk=run.pk).update(state="running", lease_until=until, lease_holder="somebody")
    asked = operator.post(f"/runs/{run.pk}/pause", {"reason": "Wait."})
    assert (asked["state"], asked["obeyed_at"]) == ("running", None)
    assert operator.get(f"/runs/{run.pk}")["asked"] == "pause"


def test_asking_twice_with_one_request_id_is_one_act(operator: Caller, run: Run) -> None:
    body = {"reason": "Noisy.", "request_id": str(uuid7())}
    first = operator.post(f"/runs/{run.pk}/pause", body)
    assert operator.post(f"/runs/{run.pk}/pause", body) == first
    assert Control.objects.count() == 1
    error = operator.refused("POST", f"/runs/{run.pk}/cancellation", body, status=409, code="conflict")
    assert error["field"] == "request_id"


def test_resuming_takes_no_body_at_all(operator: Caller, run: Run) -> None:
    operator.post(f"/runs/{run.pk}/pause", {"reason": "Noisy."})
    assert operator.delete(f"/runs/{run.pk}/pause")["state"] == "queued"


@pytest.mark.parametrize(
    ("method", "door", "says"),
    [
        ("DELETE", "pause", "nothing to resume"),
        ("POST", "pause", "can no longer be paused"),
        ("POST", "cancellation", "can no longer be cancelled"),
    ],
)
def test_what_is_too_late_is_a_conflict(operator: Caller, run: Run, method: str, door: str, says: str) -> None:
    stage.ended(run, "completed")
    error = operator.refused(method, f"/runs/{run.pk}/{door}", {"reason": "x"}, status=409, code="conflict")
    assert says in error["message"]
    assert not Control.objects.exists()


@pytest.mark.parametrize("door", ["pause", "cancellation"])
def test_stepping_in_needs_a_reason(operator: Caller, run: Run, door: str) -> None:
    for body in ({}, {"reason": "  "}):
        error = operator.refused("POST", f"/runs/{run.pk}/{door}", body, status=422, code="invalid")
        assert error["field"] == "reason"
    error = operator.refused("POST", f"/runs/{run.pk}/{door}", None, status=422, code="invalid")
    assert error["message"] == "The body must be a JSON object with reason and request_id."
    run.refresh_from_db()
    assert run.state == "queued"
