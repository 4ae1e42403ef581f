"""Approvals through the API: the questions, and one way to answer them."""

from typing import Any

import pytest
from uuid_utils.compat import uuid7

from agents.models import Agent, AuditEntry, Run, Step, Team, User
from approvals.models import Approval, Decision
from tests import factories, toolbox  # noqa: F401  # the toolbox declares the tool that is asked about
from tests.api import stage
from tests.api.stage import Caller
from tests.approvals import questions


@pytest.fixture
def approval(run: Run) -> Approval:
    """May the agent refund €184? The run waits for the answer."""
    made = questions.held(run)
    Run.objects.filter(pk=run.pk).update(state="waiting")
    return made


def test_a_question_says_all_that_is_needed_to_answer_it(viewer: Caller, approval: Approval, run: Run) -> None:
    item = viewer.get("/approvals")["items"][0]
    again = viewer.get(f"/approvals/{approval.pk}")
    assert item.pop("clock")["elapsed_s"] <= again.pop("clock")["elapsed_s"]
    assert item == again
    assert (item["id"], item["run"], item["seq"]) == (str(approval.pk), str(run.pk), approval.seq)
    assert (item["kind"], item["state"], item["executed"]) == ("act", "open", "not_yet")
    assert (item["agent"], item["team"], item["tool"], item["tier"]) == ("desk", "service", "test.refund", 3)
    assert item["says"] == "Refund €184.00 to Café Lindenhof"
    assert item["arguments"] == {"order": "4711", "amount": "184.00"}
    assert item["preview"] == [{"what": "order 4711 paid", "before": "€184.00", "after": "€0.00"}]
    assert item["confidence"] == {"value": 0.62, "source": "self_reported"}
    assert item["reasons"][0]["gate"] == "tier"
    assert item["answers"] == ["approve", "edit", "reject", "ask"]
    assert item["decision"] is None


def test_approving_lets_the_run_go_on(reviewer: Caller, approval: Approval, run: Run) -> None:
    asked = str(uuid7())
    answer = reviewer.post(
        f"/approvals/{approval.pk}/decision",
        {"answer": "approve", "reason": "The photo shows it.", "request_id": asked},
    )
    assert (answer["state"], answer["answers"]) == ("approved", [])
    decision = answer["decision"]
    assert (decision["answer"], decision["by"], decision["reason"]) == ("approve", "second-look", "The photo shows it.")
    assert decision["request_id"] == asked
    run.refresh_from_db()
    assert run.state == "queued"
    step = reviewer.get(f"/runs/{run.pk}/steps")["items"][0]
    assert (step["answer"]["kind"], step["answer"]["approval"]) == ("approved", str(approval.pk))


def test_deciding_twice_with_one_request_id_is_one_decision(reviewer: Caller, approval: Approval) -> None:
    body = {"answer": "approve", "request_id": str(uuid7())}
    first = reviewer.post(f"/approvals/{approval.pk}/decision", body)
    assert reviewer.post(f"/approvals/{approval.pk}/decision", body) == first
    assert Decision.objects.count() == 1


def test_editing_takes_arguments_and_checks_them(reviewer: Caller, approval: Approval) -> None:
    door = f"/approvals/{approval.pk}/decision"
    half = {"order": "4711", "amount": "92.00"}
    missing = reviewer.refused("POST", door, {"answer": "edit", "reason": "Half."}, status=422, code="invalid")
    assert missing["field"] == "arguments"
    reviewer.refused("POST", door, {"answer": "edit", "arguments": {"order": 1}}, status=422, code="invalid")
    answer = reviewer.post(door, {"answer": "edit", "reason": "Half.", "arguments": half})
    assert answer["state"] == "edited"
    assert answer["decision"]["arguments"] == half
    assert answer["arguments"] == questions.REFUND


def test_a_rejection_carries_a_code_to_whoever_counts_and_to_the_agent(reviewer: Caller, approval: Approval) -> None:
    body = {"answer": "reject", "code": "wrong_amount", "reason": "Half of it was fine."}
    decision = reviewer.post(f"/approvals/{approval.pk}/decision", body)["decision"]
    assert (decision["code"], decision["reason"]) == ("wrong_amount", "Half of it was fine.")
    step = reviewer.get(f"/runs/{approval.run_id}/steps")["items"][0]
    assert step["answer"]["reason"] == "wrong_amount: Half of it was fine."
    entry = AuditEntry.objects.get(verb="approval.decided")
    assert (entry.detail["code"], entry.reason) == ("wrong_amount", "Half of it was fine.")


def test_what_is_too_late_says_who_was_first(reviewer: Caller, approval: Approval, rhea: User) -> None:
    questions.settle(approval, by=rhea, answer="reject")
    door = f"/approvals/{approval.pk}/decision"
    error = reviewer.refused("POST", door, {"answer": "approve"}, status=409, code="conflict")
    assert "Rejected by" in error["message"]
    assert Decision.objects.count() == 1


def test_a_manual_act_is_done_by_a_person_who_posts_the_outcome(reviewer: Caller, run: Run) -> None:
    approval = questions.held(run, tier=4)
    door = f"/approvals/{approval.pk}/decision"
    assert reviewer.get(f"/approvals/{approval.pk}")["answers"] == ["outcome", "reject"]
    reviewer.refused("POST", door, {"answer": "approve", "reason": "Go."}, status=409, code="conflict")
    answer = reviewer.post(door, {"answer": "outcome", "reason": "Done at the counter.", "outcome": {"receipt": 12}})
    assert (answer["executed"], answer["decision"]["outcome"]) == ("executed", {"receipt": 12})


def test_nobody_decides_what_they_or_their_token_started(agent: Agent, team: Team, rhea: User) -> None:
    both = factories.person("bea", "admin", of=team)
    own = stage.token("beas-script", "admin", of=team, owner=both)
    answer = own.post("/runs", {"agent": "desk", "objective": "x"}, status=201)
    approval = questions.held(Run.objects.get(pk=answer["id"]))
    sibling = stage.token("beas-other-script", "reviewer", of=team, owner=both)
    for caller in (own, sibling):
        door = f"/approvals/{approval.pk}/decision"
        error = caller.refused("POST", door, {"answer": "approve"}, status=403, code="forbidden")
        assert "somebody else decides" in error["message"]
    assert AuditEntry.objects.filter(outcome="denied", subject_id=str(approval.pk)).count() == 2
    assert not Decision.objects.exists()


@pytest.mark.parametrize(
    ("body", "field", "says"),
    [
        ({}, "answer", "is required"),
        ({"answer": "yes"}, "answer", "approve, edit, reject, ask, outcome or absent"),
        ({"answer": "reject"}, "reason", "why you reject"),
        ({"answer": "reject", "code": "other"}, "reason", "why you reject"),
        ({"answer": "reject", "code": "bad"}, "code", "wrong_target, wrong_amount"),
        ({"answer": "approve", "code": "unclear"}, "code", "with the answer reject only"),
        ({"answer": "approve", "arguments": []}, "arguments", "must be a JSON object"),
        ({"answer": "approve", "arguments": {}}, "arguments", "with the answer edit only"),
        ({"answer": "approve", "why": "x"}, "why", "this takes answer, code, reason, arguments"),
        ({"answer": "approve", "request_id": 7}, "request_id", "must be a UUID"),
    ],
)
def test_what_is_wrong_with_a_decision_is_said_in_one_sentence(
    reviewer: Caller, approval: Approval, body: dict[str, Any], field: str, says: str
) -> None:
    error = reviewer.refused("POST", f"/approvals/{approval.pk}/decision", body, status=422, code="invalid")
    assert error["field"] == field
    assert says in error["message"]
    assert not Decision.objects.exists()


@pytest.mark.parametrize("role", ["viewer", "operator", "manager", "governance"])
def test_deciding_takes_the_role(team: Team, approval: Approval, role: str) -> None:
    caller = stage.token("somebody", role, of=team)
    door = f"/approvals/{approval.pk}/decision"
    caller.refused("POST", door, {"answer": "approve"}, status=403, code="forbidden")
    assert Step.objects.get(run=approval.run, seq=approval.seq).answer is None


def test_strangers_see_no_question_and_answer_none(outsider: Caller, approval: Approval) -> None:
    assert outsider.get("/approvals")["items"] == []
    outsider.refused("GET", f"/approvals/{approval.pk}", status=404, code="not_found")
    door = f"/approvals/{approval.pk}/decision"
    outsider.refused("POST", door, {"answer": "approve"}, status=404, code="not_found")


def test_filters_and_pages_of_approvals(
    viewer: Caller, agent: Agent, team: Team, rhea: User, django_assert_num_queries: Any
) -> None:
    runs = [factories.run(agent) for _ in range(3)] + [factories.run(factories.agent("buyer", of=team))]
    decided, doubted, opened, bought = (
        questions.held(runs[0]),
        questions.doubted(runs[1]),
        *map(questions.held, runs[2:]),
    )
    questions.settle(decided, by=rhea)

    def found(query: str) -> list[str]:
        return [item["id"] for item in viewer.get(f"/approvals?{query}")["items"]]

    assert found("state=open") == [str(bought.pk), str(opened.pk), str(doubted.pk)]
    assert found("state=approved,rejected") == [str(decided.pk)]
    assert found("kind=in_doubt") == [str(doubted.pk)]
    assert found("agent=buyer") == [str(bought.pk)]
    assert found(f"run={runs[2].pk}") == [str(opened.pk)]
    assert len(viewer.all("/approvals", limit=3)) == 4
    assert viewer.refused("GET", "/approvals?state=new", status=422, code="invalid")["field"] == "state"
    assert viewer.refused("GET", "/approvals?run=17", status=422, code="invalid")["field"] == "run"
    with django_assert_num_queries(6):  # the token, its memberships, the approvals, their decisions, clocks, ladders
        viewer.get("/approvals")
