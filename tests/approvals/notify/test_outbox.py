"""Messages reach endpoints: signed, under one id however often they are tried, never before the fact is committed."""

import json
from datetime import timedelta
from typing import Any

import pytest
from cloudevents.core.formats.json import JSONFormat
from django.db import transaction
from django.utils import timezone
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from agents.models import AuditEntry, User
from approvals.models import Approval
from approvals.notify import channels, connecting, outbox, telling
from approvals.notify.models import About, Endpoint, Fact, Notification
from tests.approvals import questions
from tests.approvals.notify.receiving import Receiver

pytestmark = pytest.mark.django_db


def later(endpoint: Endpoint) -> None:
    """As if the back-off were over."""
    past = timezone.now() - timedelta(seconds=1)
    Endpoint.objects.filter(pk=endpoint.pk).update(next_at=past)
    Notification.objects.filter(endpoint=endpoint).update(due_at=past)


def sent(endpoint: Endpoint) -> list[Notification]:
    """What there is for an endpoint, the oldest first."""
    return list(Notification.objects.filter(endpoint=endpoint).order_by("id"))


def test_a_webhook_is_signed_and_holds_a_cloud_event(
    asked: Approval, hook: Endpoint, receiver: Receiver, secret: str
) -> None:
    telling.tell()
    assert outbox.deliver() == 1
    [request] = receiver.received
    assert request.path == "/hook?from=cockpit"
    Webhook(secret).verify(request.body, request.headers)
    event = JSONFormat().read(None, request.body)
    [kept] = sent(hook)
    assert request.headers["webhook-id"] == event.get_id() == str(kept.pk)
    assert event.get_type() == "dev.cockpit.approval.opened.v1"
    assert event.get_source() == "/teams/service/cockpit"
    assert event.get_subject() == f"approvals/{asked.pk}"
    data: Any = event.get_data()
    assert (data["says"], data["agent"], data["level"]) == (asked.says, "refunds", 1)
    assert "arguments" not in data
    assert (kept.state, kept.status, kept.attempts) == ("delivered", 200, 1)


def test_a_message_that_was_altered_is_refused_by_the_receiver(
    asked: Approval, hook: Endpoint, receiver: Receiver, secret: str
) -> None:
    telling.tell()
    outbox.deliver()
    [request] = receiver.received
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(request.body.replace(b"4711", b"4712").replace(b"184", b"999"), request.headers)


def test_every_try_has_the_same_id_and_body_and_comes_later(
    asked: Approval, hook: Endpoint, receiver: Receiver
) -> None:
    receiver.fails(2, 503, **{"Retry-After": "900"})
    telling.tell()
    outbox.deliver()
    hook.refresh_from_db()
    assert hook.next_at > timezone.now() + timedelta(seconds=890), "it asked for 15 minutes"
    assert outbox.deliver() == 0, "not before the back-off is over"
    later(hook)
    outbox.deliver()
    later(hook)
    outbox.deliver()
    ids = {request.headers["webhook-id"] for request in receiver.received}
    assert (len(receiver.received), len(ids)) == (3, 1)
    assert len({request.body for request in receiver.received}) == 1
    [kept] = sent(hook)
    assert (kept.state, kept.attempts, kept.error) == ("delivered", 3, "")
    hook.refresh_from_db()
    assert hook.failures == 0, "one that arrives begins the count anew"


def test_back_off_grows_and_is_spread() -> None:
    waits = [[outbox.back_off(n).total_seconds() for _ in range(50)] for n in range(1, 8)]
    middles = [sum(some) / len(some) for some in waits]
    assert middles[0] == pytest.approx(30, rel=0.2)
    assert middles[1] == pytest.approx(120, rel=0.2)
    assert max(middles) < 3600 * 1.2
    assert all(len(set(some)) > 40 for some in waits)
    assert outbox.back_off(1, asked=100).total_seconds() >= 100


def test_after_five_failures_in_a_row_it_is_switched_off_and_says_so(
    asked: Approval, hook: Endpoint, receiver: Receiver
) -> None:
    receiver.fails(5)
    telling.tell()
    for _ in range(6):
        outbox.deliver()
        later(hook)
    hook.refresh_from_db()
    assert (len(receiver.received), hook.is_off) == (5, True)
    assert hook.off_because == "It failed 5 times in a row. It answered 500 Internal Server Error: said the server"
    entry = AuditEntry.objects.get(verb="endpoint.switched_off")
    assert (entry.by, entry.team_id, entry.reason) == (None, hook.team_id, hook.off_because)


def test_one_that_says_it_is_gone_is_switched_off_at_once(asked: Approval, hook: Endpoint, receiver: Receiver) -> None:
    receiver.fails(1, 410)
    telling.tell()
    outbox.deliver()
    hook.refresh_from_db()
    assert (hook.is_off, hook.off_because) == (True, "It says that it is gone (410).")


def test_switched_on_again_it_gets_what_still_waits_but_nothing_old(
    asked: Approval, hook: Endpoint, receiver: Receiver, governor: User
) -> None:
    receiver.fails(1, 410)
    telling.tell()
    outbox.deliver()
    questions.held(questions.run(), seq=3)
    telling.tell()
    assert len(sent(hook)) == 1, "nothing is written for one that is off"
    old = Notification(channel="endpoint", endpoint=hook, about=About.OPENED, title="Long ago")
    old.created_at = timezone.now() - timedelta(hours=25)
    old.save()
    connecting.switch_on(hook, by=governor, reason="The server is back.")
    assert outbox.deliver() == 1
    assert [one.state for one in sent(hook)] == ["delivered", "dropped"]
    assert AuditEntry.objects.get(verb="endpoint.switched_on").by == governor


def test_a_test_is_sent_once_and_also_while_it_is_off(hook: Endpoint, receiver: Receiver, governor: User) -> None:
    Endpoint.objects.filter(pk=hook.pk).update(off_at=timezone.now(), off_because="It failed.")
    request_id = hook.pk
    first = connecting.try_out(hook, by=governor, request_id=request_id)
    assert connecting.try_out(hook, by=governor, request_id=request_id) == first
    assert outbox.deliver() == 1
    assert json.loads(receiver.received[0].body)["type"] == "dev.cockpit.endpoint.test.v1"
    receiver.fails(1)
    failing = connecting.try_out(hook, by=governor)
    outbox.deliver()
    failing.refresh_from_db()
    hook.refresh_from_db()
    assert (failing.state, failing.status, hook.failures) == ("failed", 500, 0)
    assert hook.is_off, "a test switches nothing on"


def test_nothing_is_sent_when_the_transaction_rolls_back(hook: Endpoint, receiver: Receiver, db: None) -> None:
    with transaction.atomic():
        questions.held()
        assert Fact.objects.count() == 1, "the fact is noted in the transaction itself"
        transaction.set_rollback(True)
    assert (telling.tell(), outbox.deliver(), receiver.received) == (0, 0, [])
    assert not Notification.objects.exists()


def test_who_dies_while_sending_leaves_a_claim_that_ends(asked: Approval, hook: Endpoint, receiver: Receiver) -> None:
    telling.tell()
    claimed = outbox._claim()
    assert claimed is not None
    assert outbox.deliver() == 0, "another sender leaves the lane alone"
    later(hook)
    assert outbox.deliver() == 1
    outbox._note(claimed, outbox.Outcome(500, "too late"))
    [kept] = sent(hook)
    hook.refresh_from_db()
    assert (kept.state, kept.attempts, hook.failures) == ("delivered", 2, 0), "the late one judges nothing"


def test_what_cannot_be_reached_is_a_sentence_and_not_an_exception(
    asked: Approval, hook: Endpoint, receiver: Receiver, settings: Any
) -> None:
    receiver.close()
    telling.tell()
    outbox.deliver()
    [kept] = sent(hook)
    assert (kept.state, kept.status) == ("waiting", None)
    assert "refused" in kept.error
    settings.NOTIFY_NETWORKS = []
    later(hook)
    outbox.deliver()
    [kept] = sent(hook)
    assert "COCKPIT_NOTIFY_NETWORKS" in kept.error, "what was allowed once is checked at every try"


def test_a_redirect_is_not_followed(asked: Approval, hook: Endpoint, receiver: Receiver) -> None:
    receiver.fails(1, 302, Location="http://127.0.0.1:1/")
    telling.tell()
    outbox.deliver()
    assert "sends elsewhere" in sent(hook)[0].error
    assert len(receiver.received) == 1


def test_a_secret_whose_key_is_gone_is_told(asked: Approval, hook: Endpoint, settings: Any, receiver: Receiver) -> None:
    settings.SECRETS_KEY = "another one"
    telling.tell()
    outbox.deliver()
    assert "sealed with a key that is not here" in sent(hook)[0].error
    assert receiver.received == []


def test_links_are_the_same_on_every_try(asked: Approval, hook: Endpoint) -> None:
    telling.tell()
    [kept] = sent(hook)
    assert channels.link(kept) == channels.link(kept)
    assert f"/notifications/open/{str(asked.pk)[:3]}" not in channels.link(kept)


def test_a_test_that_arrives_ends_the_back_off(
    asked: Approval, hook: Endpoint, receiver: Receiver, governor: User
) -> None:
    receiver.fails(1)
    telling.tell()
    outbox.deliver()
    assert outbox.deliver() == 0
    connecting.try_out(hook, by=governor)
    assert outbox.deliver() == 2, "the test, and what had waited"
    assert {one.state for one in sent(hook)} == {"delivered"}
