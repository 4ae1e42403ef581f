"""Policies through the API: published, compared, tried; enforced by people with a second factor and not by tokens."""

import pytest
from django.test import Client
from uuid_utils.compat import uuid7

from agents.models import AuditEntry, Role, Run, StepPayload, Team
from approvals.policies import loaded
from approvals.policies.gate import PolicyGate
from approvals.policies.models import PolicySet
from approvals.policies.trying import write
from tests import factories, showing
from tests.api import stage
from tests.api.stage import Caller
from tests.approvals import questions
from tests.approvals.policies.rulebook import CASES, RULES, enforce

WANTED = {"policies": {"rules.cedar": RULES}, "cases": CASES}


@pytest.fixture
def governor(db: None) -> Caller:
    """May publish in every team."""
    return stage.token("rules", "governance")


def test_what_is_published_is_read_compared_and_tried(governor: Caller, viewer: Caller, run: Run) -> None:
    factories.step(run, seq=7, name="test.refund", writes=True, tier=3)
    StepPayload.objects.create(run_id=run.pk, seq=7, input={"arguments": {"order": "1", "amount": "2000"}})
    first = governor.post("/policies", WANTED)
    assert (first["number"], first["state"], first["published_by"]) == (1, "draft", "rules")
    assert {one["id"]: one["level"] for one in first["rules"] if one["asks"]} == {"ask-red": 1, "ask-twice-over-500": 2}
    assert viewer.get("/policies/1") == governor.post("/policies", WANTED) == first, "the same content is the same"
    looser = {**WANTED, "policies": {"rules.cedar": RULES.replace("100000", "300000")}, "cases": CASES[::2]}
    governor.post("/policies", looser)
    assert [one["number"] for one in viewer.all("/policies", limit=1)] == [2, 1]
    assert "case removed: Too much" in viewer.get("/policies/2/diff?against=1")["lines"]
    assert "name the version" in viewer.refused("GET", "/policies/2/diff", status=409, code="conflict")["message"]
    report = governor.get("/policies/1/report?days=1")
    assert (report["judged"], report["deny"], report["changed"]) == (
        1,
        1,
        [{"was": "allow", "would": "deny", "times": 1}],
    )
    assert (report["examples"][0]["rules"], report["unjudged"]) == (["forbid-over-1000"], [])
    StepPayload.objects.filter(run_id=run.pk).update(input={"arguments": {"order": "1", "amount": "much"}})
    (unjudged,) = governor.get("/policies/1/report?days=1")["unjudged"]
    assert (unjudged["name"], unjudged["why"], unjudged["times"]) == ("test.refund", "amount is no number", 1)
    assert unjudged["examples"][0]["run"] == str(run.pk)
    assert governor.post("/policies/1/trial", {"reason": "For a week."})["state"] == "log_only"
    loaded.forget()
    PolicyGate().ask(questions.action(run))
    write()
    (told,) = viewer.get("/policies/1/differences")["items"]
    assert (told["run"], told["was"], told["would"], told["rules"]) == (str(run.pk), "allow", "hold", ["ask-red"])
    loaded.forget()


def test_what_is_wrong_with_policies_is_named_and_nothing_is_kept(governor: Caller) -> None:
    bad = {**WANTED, "policies": {"rules.cedar": RULES.replace("amount_minor", "amuont")}}
    error = governor.refused("POST", "/policies", bad, status=422, code="invalid")
    assert error["field"] == "policies"
    assert "forbid-over-1000" in error["message"]
    wrong = {**WANTED, "cases": [{**CASES[0], "expect": "alow"}]}
    assert (
        "case 1 (A refund waits)" in governor.refused("POST", "/policies", wrong, status=422, code="invalid")["message"]
    )
    assert (
        governor.refused("POST", "/policies", {**WANTED, "cases": []}, status=422, code="invalid")["field"] == "cases"
    )
    assert not PolicySet.objects.exists()


def test_tokens_change_nothing_that_holds_and_are_told_why(governor: Caller) -> None:
    number = enforce().number
    for method in ("POST", "DELETE"):
        error = governor.refused(
            method, f"/policies/{number}/enforcement", {"reason": "Now."}, status=403, code="forbidden"
        )
        assert error["message"].startswith("What decides over every act is changed by a person in the browser")
    assert PolicySet.objects.get().state == "enforced"
    assert AuditEntry.objects.filter(by__username="rules", outcome="denied").count() == 2


def test_a_role_in_one_team_is_not_enough(team: Team, operator: Caller) -> None:
    number = enforce().number
    own = stage.token("own", "governance", of=team)
    for caller in (own, operator):
        for path, body in (("", WANTED), (f"/{number}/trial", {}), (f"/{number}/enforcement", {"reason": "x"})):
            error = caller.refused("POST", f"/policies{path}", body, status=403, code="forbidden")
            assert "in every team" in error["message"]
        caller.refused("GET", f"/policies/{number}/report", status=403, code="forbidden")
        assert caller.get(f"/policies/{number}")["state"] == "enforced"


def test_somebody_who_has_just_shown_a_factor_enforces_and_goes_back(client: Client, governor: Caller) -> None:
    gaia = factories.person("gaia", Role.GOVERNANCE)
    showing.app_of(gaia)
    client.force_login(gaia)
    inside = Caller(client=client)
    number = governor.post("/policies", WANTED)["number"]
    path, said = f"/policies/{number}/enforcement", {"reason": "Tried.", "request_id": str(uuid7())}
    assert "takes your second factor" in inside.refused("POST", path, said, status=403, code="forbidden")["message"]
    client.post(f"/policies/{number}/enforcement/", {"reason": "", "factor_code": showing.code()})  # shows it
    assert [inside.post(path, said)["state"] for _ in range(2)] == ["enforced", "enforced"]
    assert inside.get(f"/policies/{number}")["enforced_by"] == "gaia"
    assert inside.delete(path, {"reason": "No."})["state"] == "retired"
    assert (
        "nothing to go back"
        in inside.refused("DELETE", path, {"reason": "No."}, status=409, code="conflict")["message"]
    )
