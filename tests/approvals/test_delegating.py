"""A question is handed to somebody: they hold it, others leave it to them, and it comes back by itself."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone
from uuid_utils.compat import uuid7

from agents import errors
from agents.models import AuditEntry, Role, User
from approvals import claiming, delegating
from approvals.models import Approval
from approvals.notify import telling
from approvals.notify.models import Notification
from tests import factories, showing
from tests.approvals import questions

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def teo(rhea: User) -> User:
    return factories.person("teo", Role.REVIEWER, of=factories.team())


def hand(approval: Approval, to: User, by: User, **more: object) -> None:
    delegating.delegate(approval, to=to, by=by, **{"note": "You know this customer.", "request_id": uuid7(), **more})


def test_whoever_gets_it_holds_it_and_is_told(rhea: User, teo: User) -> None:
    approval = questions.held()
    hand(approval, teo, rhea)
    approval.refresh_from_db()
    assert approval.held_by == teo
    assert list(Approval.objects.held_by(teo)) == [approval]
    assert str(delegating.last(approval)) == "delegated to teo by rhea: You know this customer."
    with pytest.raises(errors.Conflict, match="teo holds this"):
        questions.settle(approval, by=rhea)
    telling.tell()
    told = Notification.objects.filter(person=teo, about="delegated", channel="in_app").get()
    assert told.title.startswith("Handed to you: Refund")
    assert not Notification.objects.filter(person=rhea, about="delegated").exists()
    questions.settle(approval, by=teo)
    assert AuditEntry.objects.get(verb="approval.delegated").detail["to"] == "teo"


def test_it_comes_back_to_everybody_and_can_be_taken_over(rhea: User, teo: User) -> None:
    approval = questions.held()
    hand(approval, teo, rhea)
    claiming.claim(Approval.objects.get(), by=rhea, reason="He is ill.")
    assert delegating.last(Approval.objects.get()) is None
    hand(approval, teo, rhea)
    Approval.objects.update(claimed_until=timezone.now() - timedelta(seconds=1))
    questions.settle(approval, by=rhea)


def test_only_to_people_who_may_decide_it(rhea: User, teo: User, olga: User) -> None:
    approval = questions.held(questions.run(started_by=teo))
    with pytest.raises(errors.Conflict, match=r"olga cannot decide it .*role reviewer"):
        hand(approval, olga, rhea)
    with pytest.raises(errors.Conflict, match=r"teo cannot decide it .*started this run"):
        hand(approval, teo, rhea)
    with pytest.raises(errors.Conflict, match="with you already"):
        hand(approval, rhea, rhea)
    with pytest.raises(errors.Invalid, match="Say why"):
        hand(approval, teo, rhea, note=" ")
    with pytest.raises(errors.Invalid, match=r"nobody called 'tea'. Give the name that a colleague"):
        delegating.named("tea ")
    with pytest.raises(errors.Forbidden):
        hand(approval, rhea, olga)
    assert Approval.objects.get().claimed_by is None
    assert [one.username for one in delegating.colleagues(approval, rhea)] == []


def test_what_takes_a_second_factor_is_handed_to_whoever_has_one(rhea: User, teo: User, client: Client) -> None:
    approval = questions.held()
    Approval.objects.update(level=2)
    showing.app_of(rhea)
    client.force_login(rhea)
    address = f"/approvals/{approval.pk}/delegation/"
    posted = {"to": "teo", "note": "You know this customer.", "place": "page"}
    refused = client.post(address, posted | {"request_id": str(uuid7())})
    assert (refused.status_code, "it takes a second factor" in refused.content.decode()) == (409, True)
    assert '<option value="teo">' not in client.get(address).content.decode()
    showing.app_of(teo)
    assert '<option value="teo">teo</option>' in client.get(address).content.decode()
    assert client.post(address, posted | {"request_id": str(uuid7())}).status_code == 302
    assert Approval.objects.get().held_by == teo


def test_delivered_twice_it_is_one_act(rhea: User, teo: User) -> None:
    approval, request_id = questions.held(), uuid7()
    hand(approval, teo, rhea, request_id=request_id)
    hand(approval, teo, rhea, request_id=request_id)
    assert approval.delegations.count() == 1


def test_the_page_offers_colleagues_and_shows_the_note(rhea: User, teo: User, client: Client) -> None:
    approval = questions.held()
    client.force_login(rhea)
    form = client.get(f"/approvals/{approval.pk}/delegation/").content.decode()
    assert '<option value="teo">teo</option>' in form
    posted = {"to": "teo", "note": "You know this customer.", "request_id": str(uuid7()), "place": "page"}
    assert client.post(f"/approvals/{approval.pk}/delegation/", posted).status_code == 302
    assert "You know this customer." in client.get(f"/approvals/{approval.pk}/").content.decode()
