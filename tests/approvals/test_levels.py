"""How sure we must be of who decides: from L2 on a person in the browser, with a second factor shown just now."""

from html import unescape
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from uuid_utils.compat import uuid7

from agents import errors
from agents.models import AuditEntry, Role, User
from agents.people import accounts
from approvals import decisions
from approvals.decisions import Given
from approvals.models import Approval, Decision
from tests import factories, showing
from tests.approvals import questions

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _nobody_has_tried_yet() -> None:
    cache.clear()


def asked(**fields: Any) -> Approval:
    """A refund that takes L2."""
    approval = questions.held(**fields)
    Approval.objects.filter(pk=approval.pk).update(level=2)
    return Approval.objects.get(pk=approval.pk)


@pytest.fixture
def inside(client: Client, rhea: User) -> Client:
    client.force_login(rhea)
    return client


def page(client: Client, approval: Approval) -> str:
    return unescape(client.get(f"/approvals/{approval.pk}/").content.decode())


def post(client: Client, approval: Approval, **fields: str) -> Any:
    given = {"answer": "approve", "reason": "I looked.", "request_id": str(uuid7()), "place": "page", **fields}
    return client.post(f"/approvals/{approval.pk}/decision/", given)


def denied() -> list[str]:
    return list(AuditEntry.objects.filter(outcome="denied", verb="approval.decided").values_list("reason", flat=True))


def test_a_token_decides_l1_only(team, client):
    _, plain = accounts.create_token("bot", role=Role.REVIEWER, owner=None, by=None, team=team)
    headers = {"HTTP_AUTHORIZATION": f"Bearer {plain}", "content_type": "application/json"}
    first, second = questions.held(), asked(seq=3)
    answers = [
        client.post(f"/api/v1/approvals/{one.pk}/decision", {"answer": "approve"}, **headers) for one in (first, second)
    ]
    assert [answer.status_code for answer in answers] == [200, 403]
    assert "Tokens decide L1" in answers[1].json()["error"]["message"]
    assert (Decision.objects.count(), len(denied())) == (1, 1)


def test_whoever_came_through_no_door_decides_l1_only_and_one_by_one_or_many_at_once_is_the_same(rhea):
    approval = asked()
    (left,) = decisions.decide_many({approval.pk: uuid7()}, Given(by=rhea, answer="approve"))
    assert isinstance(left, errors.Forbidden)
    with pytest.raises(errors.Forbidden, match="a person decides it in the browser"):
        questions.settle(approval, by=rhea)
    assert len(denied()) == 2


def test_without_a_factor_the_button_says_so_and_where_to_get_one(inside):
    approval = asked()
    text = page(inside, approval)
    assert "it takes a second factor, and you have none yet" in text
    assert 'href="/me/security/"' in text
    assert 'name="factor_code"' not in text
    assert post(inside, approval).status_code == 403


def test_the_factor_is_shown_with_the_answer_and_counts_for_a_while(inside, rhea, settings):
    showing.app_of(rhea)
    approval, second, third = asked(), asked(seq=3), asked(seq=4)
    text = page(inside, approval)
    assert 'name="factor_code"' in text
    assert "fieldset disabled" not in text
    missing = post(inside, approval)
    assert (missing.status_code, "Deciding L2 takes your second factor" in missing.content.decode()) == (403, True)
    wrong = post(inside, approval, factor_code="000000x")
    assert (wrong.status_code, "This code is not right" in wrong.content.decode()) == (422, True)
    assert not Decision.objects.exists()
    assert post(inside, approval, factor_code=showing.code()).status_code == 302
    assert 'name="factor_code"' not in page(inside, second)
    assert post(inside, second).status_code == 302
    settings.FRESH_MINUTES = 0
    assert 'name="factor_code"' in page(inside, third)
    assert post(inside, third).status_code == 403
    assert Decision.objects.count() == 2


def test_what_is_typed_beside_a_reason_code_is_not_taken_for_the_factor(inside, rhea):
    showing.app_of(rhea)
    approval = asked()
    made = post(inside, approval, answer="reject", code="other", reason="No.", factor_code=showing.code())
    assert (made.status_code, Decision.objects.get().answer) == (302, "reject")


def test_two_clicks_with_one_code_are_one_decision(inside, rhea):
    showing.app_of(rhea)
    approval, code, key = asked(), showing.code(), str(uuid7())
    before = dict(inside.session.items())
    assert post(inside, approval, factor_code=code, request_id=key).status_code == 302
    assert "second_factor_at" not in before
    assert post(inside, approval, factor_code=code, request_id=key).status_code == 302
    assert Decision.objects.count() == 1


def test_a_factor_shown_in_one_session_says_nothing_about_another(inside, rhea):
    showing.app_of(rhea)
    post(inside, asked(), factor_code=showing.code())
    other = Client()
    other.force_login(rhea)
    assert post(other, asked(seq=3)).status_code == 403


def test_a_stale_factor_keeps_nobody_from_claiming(inside, rhea):
    showing.app_of(rhea)
    approval = asked()
    assert inside.post(f"/approvals/{approval.pk}/claim/", {"request_id": str(uuid7())}).status_code < 400


def test_a_reviewer_of_another_team_is_told_about_the_role_first(team):
    from approvals import duties

    other = factories.person("otto", Role.VIEWER, of=team)
    approval = Approval.objects.select_related("team").get(pk=asked().pk)
    assert "takes the role reviewer" in duties.refusal(other, approval)
