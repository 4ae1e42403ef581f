"""Changing what holds, on the pages: tried, enforced after the report was shown, and back; by whom, and how often."""

import re
from html import unescape
from typing import Any

import pytest
from django.core.cache import cache
from django.core.management import call_command
from django.test import Client
from uuid_utils.compat import uuid7

from agents import errors
from agents.models import AuditEntry, Role, Run, StepPayload, Team, User
from approvals.models import PolicySet
from approvals.policies import publishing
from tests import factories, showing
from tests.approvals.policies.rulebook import RULES, enforce, publish

pytestmark = pytest.mark.django_db
TIGHTER = RULES.replace("100000", "90000")


@pytest.fixture(autouse=True)
def _nobody_has_tried_yet() -> None:
    cache.clear()


@pytest.fixture
def gaia(db: None) -> User:
    """Governs in every team, and has an authenticator app."""
    made = factories.person("gaia", Role.GOVERNANCE)
    showing.app_of(made)
    return made


@pytest.fixture
def inside(client: Client, gaia: User) -> Client:
    client.force_login(gaia)
    return client


def _text(response: Any) -> str:
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode())))


def _form(**fields: str) -> dict[str, str]:
    return {"reason": "Tried for a week.", "request_id": str(uuid7()), "factor_code": showing.code(), **fields}


def _states() -> list[tuple[int, str]]:
    return list(PolicySet.objects.order_by("number").values_list("number", "state"))


def _told() -> list[tuple[str, str, str]]:
    told = AuditEntry.objects.filter(subject_kind="policyset").exclude(verb="policy.published")
    return list(told.order_by("id").values_list("verb", "outcome", "by_name"))


def test_a_version_is_tried_with_one_press_and_two_presses_are_one(inside: Client) -> None:
    number = publish().number
    form = _form()
    for _ in range(2):
        answer = inside.post(f"/policies/{number}/trial/", form)
        assert (answer.status_code, answer["Location"]) == (302, f"/policies/?version={number}")
    assert _states() == [(number, "log_only")]
    assert _told() == [("policy.tried", "done", "gaia")]
    assert "where they disagree stands below" in _text(inside.get(f"/policies/?version={number}"))


def test_what_it_would_have_done_stands_before_the_form_that_enforces_it(inside: Client, run: Run) -> None:
    for seq, amount in ((1, "1000.01"), (2, "10.00")):
        factories.step(run, seq=seq, name="test.refund", writes=True, tier=3, says=f"Refund {amount}.")
        given = {"arguments": {"order": "1", "amount": amount}}
        StepPayload.objects.create(run_id=run.pk, seq=seq, input=given)
    before, made = enforce(TIGHTER), publish()
    text = _text(inside.get(f"/policies/{made.number}/enforcement/"))
    assert f"Policies {before.number} hold now; these would take their place" in text
    assert re.search(r"on 2 real actions of the last 7 days Allowed 0 Held for a person 1 Denied 1", text)
    assert re.search(r"Refund 1000\.01\. desk allowed denied forbid-over-1000: Nobody pays back more", text)
    assert "+ when { context.input.amount_minor > 100000 };" in text
    assert text.index("What they would have done") < text.index("Enforce them")


def test_what_could_not_be_judged_is_told_by_reason_with_a_few_to_look_at(
    inside: Client, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    for seq in range(1, 8):
        factories.step(run, seq=seq, name="test.refund", writes=True, tier=3, says="Refund.")
        given = {"arguments": {"order": "1", "amount": f"much {seq}"}}
        StepPayload.objects.create(run_id=run.pk, seq=seq, input=given)
    path = f"/policies/{publish().number}/enforcement/"
    text = _text(inside.get(path))
    assert re.search(r"What they could not judge 7 of 7 actions; denied each time", text)
    such = "desk, step 1 · desk, step 2 · desk, step 3"
    assert re.search(rf"test\.refund amount is no number {such} 7", text)
    assert text.count("amount is no number") == 1
    assert f"/runs/{run.pk}/?step=3" in inside.get(path).content.decode()
    assert "allowed → denied 7" in text
    call_command("policy", "preview", "1", "--days", "1")
    said = capsys.readouterr().out
    assert "7 actions could not be judged, so they would be denied:" in said
    assert re.search(rf"7 +test.refund +amount is no number +{run.pk} step 1 · desk\n", said)
    assert "7 that were allowed would be denied.\n" in said


def test_enforcing_takes_a_reason_and_a_second_factor_and_two_presses_are_one(inside: Client, gaia: User) -> None:
    number = publish().number
    path, form = f"/policies/{number}/enforcement/", _form()
    bare = inside.post(path, {**form, "factor_code": ""})
    assert bare.status_code == 403
    assert "takes your second factor, shown within the last 5 minutes" in _text(bare)
    assert "Tried for a week." in bare.content.decode(), "what was written is kept"
    wrong = inside.post(path, {**form, "factor_code": "000000"})
    assert wrong.status_code == 422
    assert _states() == [(number, "draft")]
    assert [inside.post(path, form).status_code for _ in range(2)] == [302, 302]
    assert _states() == [(number, "enforced")]
    assert _told() == [("policy.enforced", "denied", "gaia"), ("policy.enforced", "done", "gaia")]
    assert inside.post(path, _form(reason=" ")).status_code == 422
    other = inside.post(path, _form())
    assert other.status_code == 409
    assert f"Policies {number} are enforced; not enforced again." in _text(other)


def test_going_back_twice_goes_back_once(inside: Client) -> None:
    first, second, third = enforce(), enforce(TIGHTER), enforce(RULES.replace("100000", "80000"))
    text = _text(inside.get("/policies/roll-back/"))
    assert f"Go back from policies {third.number}" in text
    assert f"Policies {second.number} would hold again" in text
    form = _form(number=str(third.number))
    assert [inside.post("/policies/roll-back/", form).status_code for _ in range(2)] == [302, 302]
    held = publishing.enforced()
    assert held == second
    late = inside.post("/policies/roll-back/", {**form, "request_id": str(uuid7())})
    assert late.status_code == 409
    assert f"Policies {third.number} are not what holds; policies {second.number} are." in _text(late)
    assert publishing.enforced() == held
    assert inside.post("/policies/roll-back/", _form(number=str(second.number))).status_code == 302
    assert publishing.enforced() == first
    assert "no policies would hold any more" in _text(inside.get("/policies/roll-back/"))


def test_without_the_role_in_every_team_nothing_is_offered_and_attempts_are_kept(
    client: Client, governor: User, team: Team
) -> None:
    number = enforce().number
    client.force_login(governor)
    assert "takes the role governance in every team" in _text(client.get("/policies/"))
    for path in ("/policies/roll-back/", f"/policies/{number}/enforcement/"):
        assert client.get(path).status_code == 403
        assert client.post(path, _form(number=str(number))).status_code == 403
    assert client.post(f"/policies/{number}/trial/", _form()).status_code == 403
    assert {outcome for _, outcome, by in _told() if by == governor.username} == {"denied"}
    assert len([by for _, _, by in _told() if by == governor.username]) == 3
    assert _states() == [(number, "enforced")]


def test_without_a_factor_the_form_says_so_and_where_to_get_one(client: Client) -> None:
    number = publish().number
    client.force_login(factories.person("gus", Role.GOVERNANCE))
    page = client.get(f"/policies/{number}/enforcement/").content.decode()
    assert "This takes a second factor, and you have none yet." in page
    assert 'href="/me/security/"' in page
    assert 'name="factor_code"' not in page
    assert client.post(f"/policies/{number}/enforcement/", _form()).status_code in (403, 422)
    assert _states() == [(number, "draft")]


def test_one_request_id_is_one_change(gaia: User) -> None:
    first, second, once = publish(), publish(TIGHTER), uuid7()
    publishing.log_only(first, by=gaia, request_id=once)
    with pytest.raises(errors.Conflict, match="used for something else"):
        publishing.log_only(second, by=gaia, request_id=once)
    with pytest.raises(errors.Conflict, match="used for something else"):
        publishing.log_only(first, by=None, request_id=once)
    assert _states() == [(1, "log_only"), (2, "draft")]
