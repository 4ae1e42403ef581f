"""Who hears of what: a decision to make, an escalation, what became of one's own; and what is taken back."""

import threading
import time
from typing import Any

import pytest
from django.core import mail
from django.db import connections

from agents.models import Role, Team, User
from approvals import signals, solo
from approvals.models import Approval
from approvals.notify import choosing, connecting, outbox, posting, reading, telling
from approvals.notify.connecting import Wanted
from approvals.notify.models import Endpoint, Notification
from tests import factories
from tests.approvals import questions
from tests.approvals.notify.receiving import Receiver

pytestmark = pytest.mark.django_db


def escalate(approval: Approval, level: int, *targets: User | Team, channels: tuple[str, ...] = ()) -> None:
    """As the clock announces it."""
    signals.approval_escalated.send(Approval, approval=approval, level=level, targets=targets, channels=channels)


def told(person: User) -> list[str]:
    """What somebody reads in the cockpit, the newest first."""
    return [one.title for one in reading.own(person).order_by("-id")]


def with_mail(person: User) -> User:
    """They have an address now."""
    person.email = f"{person.username}@example.com"
    person.save(update_fields=["email"])
    return person


def test_those_who_may_decide_are_told_and_nobody_else(
    rhea: User, olga: User, max_: User, stranger: User, team: Team
) -> None:
    ada = factories.person("ada", Role.ADMIN, of=team)
    questions.held(questions.run(started_by=ada))
    telling.tell()
    assert told(rhea) == ["Decision needed: Refund €184.00 to Café Lindenhof"]
    assert [told(one) for one in (olga, max_, stranger)] == [[], [], []]
    assert told(ada) == [], "nobody is asked about a run of their own"


def test_what_was_decided_is_told_to_whoever_started_it_and_is_over_for_the_others(
    asked: Approval, rhea: User, olga: User
) -> None:
    telling.tell()
    assert reading.unseen(rhea) == 1
    questions.settle(asked, by=rhea)
    telling.tell()
    assert told(olga) == ["Approved by rhea: Refund €184.00 to Café Lindenhof"]
    assert (reading.unseen(rhea), reading.unseen(olga)) == (0, 1)


def test_one_decided_before_anybody_was_told_asks_nobody(asked: Approval, rhea: User) -> None:
    questions.settle(asked, by=rhea)
    telling.tell()
    assert told(rhea) == []


def test_an_expired_one_is_told_to_those_who_could_have_decided_and_to_the_starter(
    asked: Approval, rhea: User, olga: User
) -> None:
    asked.state = Approval.State.EXPIRED
    asked.save()
    signals.approvals_closed.send(Approval, approvals=[asked])
    telling.tell()
    assert told(rhea)[0] == told(olga)[0] == "Expired without a decision: Refund €184.00 to Café Lindenhof"


def test_an_escalation_goes_to_its_targets(asked: Approval, rhea: User, team: Team) -> None:
    boss = factories.person("berta", Role.OPERATOR, of=team)
    telling.tell()
    escalate(asked, 2, boss)
    escalate(asked, 3, team)
    telling.tell()
    assert told(boss) == ["Escalated to L2: Refund €184.00 to Café Lindenhof"]
    assert told(rhea)[0] == "Escalated to L3: Refund €184.00 to Café Lindenhof"


def test_an_escalation_tells_nobody_who_may_not_see_where_it_was_asked(asked: Approval, rhea: User) -> None:
    elsewhere = factories.team("elsewhere")
    left, decider = (
        with_mail(factories.person("lea", Role.OPERATOR, of=elsewhere)),
        factories.person("dirk", Role.REVIEWER, of=elsewhere),
    )
    telling.tell()
    escalate(asked, 2, left, decider, rhea)
    escalate(asked, 3, elsewhere)
    telling.tell()
    assert told(rhea)[0] == "Escalated to L2: Refund €184.00 to Café Lindenhof"
    assert (told(left), told(decider)) == ([], [])
    assert not Notification.objects.filter(person__in=[left, decider]).exists(), "neither here nor by mail"


def test_what_comes_at_once_is_one_letter(rhea: User, olga: User) -> None:
    with_mail(rhea)
    run = questions.run(started_by=olga)
    for seq in range(2, 5):
        questions.held(run, seq=seq)
    telling.tell()
    assert outbox.deliver_mail() == 1
    [letter] = mail.outbox
    assert letter.to == ["rhea@example.com"]
    assert letter.subject == "[Operator cockpit] 3 decisions needed"
    assert letter.body.count("/notifications/open/") == 3
    assert {one.state for one in Notification.objects.filter(channel="email")} == {"delivered"}
    assert outbox.deliver_mail() == 0


def test_mail_that_nobody_needs_any_more_is_not_sent(asked: Approval, rhea: User) -> None:
    with_mail(rhea)
    telling.tell()
    questions.settle(asked, by=rhea)
    telling.tell()
    outbox.deliver_mail()
    assert mail.outbox == []
    assert Notification.objects.get(channel="email").error == telling.OVER


def test_a_mail_server_that_is_away_is_asked_again_later(asked: Approval, rhea: User, settings: Any) -> None:
    with_mail(rhea)
    telling.tell()
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1
    outbox.deliver_mail()
    waits = Notification.objects.get(channel="email")
    assert (waits.state, waits.attempts) == ("waiting", 1)
    assert "did not take it" in waits.error
    assert waits.due_at > waits.created_at


def test_who_wants_no_mail_gets_none_and_who_wants_everything_gets_the_rest(
    asked: Approval, rhea: User, max_: User
) -> None:
    choosing.choose(with_mail(rhea), mine="off", rest="off", hour=8)
    choosing.choose(with_mail(max_), mine="at_once", rest="at_once", hour=8)
    telling.tell()
    outbox.deliver_mail()
    assert [letter.to for letter in mail.outbox] == [["max@example.com"]]
    assert told(rhea), "in the cockpit it is told in any case"


@pytest.mark.parametrize(
    ("kind", "base"), [("pagerduty", "/v2/enqueue"), ("opsgenie", "/v2/alerts")], ids=lambda value: str(value)
)
def test_an_alert_is_raised_once_and_resolved_under_the_same_key(
    kind: str, base: str, asked: Approval, rhea: User, governor: User, receiver: Receiver
) -> None:
    pager, _ = connecting.add(asked.team, Wanted("pager", kind, receiver.url, "R0UTINGKEY"), by=governor)
    telling.tell()
    outbox.deliver()
    assert receiver.received == [], "it hears of escalations only, unless it asks for more"
    for level in (1, 3):
        escalate(asked, level)
        telling.tell()
        outbox.deliver()
    questions.settle(asked, by=rhea)
    telling.tell()
    outbox.deliver()
    first, second, last = receiver.received
    key = f"cockpit-{asked.pk}"
    if kind == "pagerduty":
        bodies = [one.json for one in receiver.received]
        assert {one.path for one in receiver.received} == {base}
        assert [one["event_action"] for one in bodies] == ["trigger", "trigger", "resolve"]
        assert {one["dedup_key"] for one in bodies} == {key}
        assert {one["routing_key"] for one in bodies} == {"R0UTINGKEY"}
        assert [one["payload"]["severity"] for one in bodies[:2]] == ["warning", "critical"]
    else:
        assert (first.path, first.json["alias"], first.json["priority"]) == (base, key, "P3")
        assert (second.json["alias"], second.json["priority"]) == (key, "P1")
        assert last.path == f"{base}/{key}/close?identifierType=alias"
        assert {one.headers["authorization"] for one in receiver.received} == {"GenieKey R0UTINGKEY"}
    assert {one.state for one in Notification.objects.filter(endpoint=pager)} == {"delivered"}


def test_an_alert_that_was_never_sent_is_neither_raised_nor_resolved(
    asked: Approval, rhea: User, governor: User, receiver: Receiver
) -> None:
    connecting.add(asked.team, Wanted("pager", "pagerduty", receiver.url, "KEY"), by=governor)
    escalate(asked, 1)
    telling.tell()
    questions.settle(asked, by=rhea)
    telling.tell()
    outbox.deliver()
    assert receiver.received == []


def test_an_escalation_calls_the_kinds_it_names(asked: Approval, governor: User, receiver: Receiver) -> None:
    connecting.add(asked.team, Wanted("pager", "pagerduty", receiver.url, "KEY"), by=governor)
    slack, _ = connecting.add(asked.team, Wanted("room", "slack", f"{receiver.url}/services/T/B/x"), by=governor)
    telling.tell()
    Notification.objects.all().delete()
    escalate(asked, 2, channels=("slack",))
    telling.tell()
    assert {one.endpoint_id for one in Notification.objects.filter(channel="endpoint")} == {slack.pk}
    assert not Notification.objects.filter(channel="email").exists()


def test_slack_reads_words_and_a_button(asked: Approval, governor: User, receiver: Receiver) -> None:
    Approval.objects.filter(pk=asked.pk).update(says="Pay <@U1> & go")
    slack, _ = connecting.add(asked.team, Wanted("room", "slack", f"{receiver.url}/services/T/B/x"), by=governor)
    telling.tell()
    outbox.deliver()
    [request] = receiver.received
    assert request.path == "/services/T/B/x"
    assert request.json["text"] == "Decision needed: Pay &lt;@U1&gt; &amp; go"
    button = request.json["blocks"][-1]["elements"][0]
    assert "/notifications/open/" in button["url"]
    assert "services" not in Endpoint.objects.get(pk=slack.pk).address, "its address is its secret"


def test_a_team_address_gets_letters(asked: Approval, governor: User) -> None:
    connecting.add(asked.team, Wanted("desk", "email", "desk@example.com"), by=governor)
    telling.tell()
    outbox.deliver()
    [letter] = mail.outbox
    assert (letter.to, letter.subject) == (["desk@example.com"], f"[Operator cockpit] Decision needed: {asked}")


def test_a_closing_does_not_overtake_its_opening(asked: Approval, rhea: User) -> None:
    """While one process tells, no other does."""
    other = connections.create_connection("default")
    try:
        other.cursor().execute("SELECT pg_advisory_lock(%s)", [telling.ONLY_ONE])
        assert telling.tell() == 0
    finally:
        other.cursor().execute("SELECT pg_advisory_unlock_all()")  # the pool keeps the session
        other.close()
    assert telling.tell() == 1


def test_what_was_delegated_is_told_to_whoever_started_the_first_run(rhea: User, olga: User) -> None:
    first = questions.run(started_by=olga)
    asked = questions.held(questions.run(parent=first))
    questions.settle(asked, by=rhea)
    telling.tell()
    assert told(olga) == ["Approved by rhea: Refund €184.00 to Café Lindenhof"]


def test_in_solo_mode_one_is_asked_about_what_is_ones_own(rhea: User) -> None:
    questions.held(questions.run(started_by=rhea))
    telling.tell()
    assert told(rhea) == []
    solo.switch_on(rhea, reason="There is nobody else at night.")
    questions.held(questions.run(started_by=rhea))
    telling.tell()
    assert told(rhea) == ["Decision needed: Refund €184.00 to Café Lindenhof"]


@pytest.mark.django_db(transaction=True)
def test_the_tick_tells_and_sends_in_threads_of_its_own(team: Team, governor: User, receiver: Receiver) -> None:
    hook, _ = connecting.add(team, Wanted("hook", "webhook", f"{receiver.url}/hook"), by=governor)
    for seq in range(2, 6):
        questions.held(questions.run(), seq=seq)
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline and Notification.objects.filter(state="delivered", endpoint=hook).count() < 4:
        posting.work()
        time.sleep(0.05)
    for thread in [one for one in threading.enumerate() if one.name in ("posting", "sending")]:
        thread.join(10)
    ids = [request.headers["webhook-id"] for request in receiver.received]
    assert (len(ids), len(set(ids))) == (4, 4), "each once, however often the tick looks"
