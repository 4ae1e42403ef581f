"""The pages of approvals through Django's client: what they show, to whom, and what pressing a button does."""

from collections.abc import Callable
from html import unescape
from typing import Any
from uuid import UUID

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries
from uuid_utils.compat import uuid7

from agents import signals
from agents.models import Run, Team, User
from approvals import queue
from approvals.escalation import expiring
from approvals.models import SLO, Approval, ApprovalClock, Decision
from tests import factories
from tests.approvals import questions

Browse = Callable[[User], Client]
HTMX = {"HTTP_HX_REQUEST": "true"}


@pytest.fixture
def browse() -> Browse:
    """A browser in which somebody is signed in."""

    def browse(user: User) -> Client:
        client = Client()
        client.force_login(user)
        return client

    return browse


def inbox(client: Client, **filters: Any) -> str:
    """The text of the inbox."""
    answer = client.get(reverse("approvals:approvals"), filters)
    assert answer.status_code == 200
    return unescape(answer.content.decode())


def page(client: Client, approval: Approval) -> str:
    """The text of a question's own page."""
    return unescape(client.get(reverse("approvals:approval", args=[approval.pk])).content.decode())


def post(client: Client, approval: Approval, **fields: Any) -> Any:
    """Press the button, as a browser without script does."""
    headers = fields.pop("headers", {})
    given = {"answer": "approve", "reason": "", "request_id": str(uuid7()), "place": "inbox", **fields}
    return client.post(reverse("approvals:decision", args=[approval.pk]), given, **headers)


def test_the_inbox_shows_what_exactly_will_happen_and_why_one_is_asked(
    approval: Approval, rhea: User, browse: Browse
) -> None:
    factories.step(approval.run, seq=1, says="Read ticket 882.", kind="tool")
    text = inbox(browse(rhea))
    for shown in (
        "Refund €184.00 to Café Lindenhof",
        "Ticket 882: the machine of order 4711 arrived broken.",
        "order 4711 paid",
        "says 62",
        "self-reported",
        "is assisted (tier 3)",
        "Read ticket 882.",
        "184.00",
    ):
        assert shown in text


def test_unknown_confidence_reads_unknown(rhea: User, browse: Browse) -> None:
    from agents.contracts import UNKNOWN

    assert "unknown" in page(browse(rhea), questions.held(confidence=UNKNOWN))


def test_deciding_shows_the_next_question_with_the_same_filters(rhea: User, browse: Browse) -> None:
    first, second = questions.held(), questions.held(seq=3)
    answer = post(browse(rhea), first, carried="agent=refunds")
    assert (answer.status_code, answer.url) == (302, f"/approvals/?agent=refunds&selected={second.pk}")
    scripted = post(browse(rhea), second, headers=HTMX)
    assert (scripted.status_code, scripted["HX-Location"]) == (
        200,
        '{"path": "/approvals/", "target": "#inbox", "swap": "outerHTML"}',
    )
    assert "Approved: Refund" in unescape(scripted["HX-Trigger"].encode().decode("unicode_escape"))
    assert not Approval.objects.filter(state="open").exists()


def test_what_was_decided_elsewhere_says_who_and_when(approval: Approval, rhea: User, browse: Browse) -> None:
    made = questions.settle(approval, by=rhea, reason="The photo shows it.")
    text = page(browse(rhea), approval)
    assert "Approved by rhea" in text
    assert f"{made.at:%H:%M}" in text
    assert "The photo shows it." in text
    assert "not carried out yet" in text
    assert 'name="answer"' not in text
    signals.act_performed.send(Run, run_id=approval.run_id, seq=approval.seq, state="done")
    assert "not carried out" not in page(browse(rhea), approval)


def test_a_late_click_on_a_page_is_a_sentence_and_changes_nothing(
    approval: Approval, rhea: User, browse: Browse
) -> None:
    questions.settle(approval, by=rhea)
    late = post(browse(factories.person("teo", "reviewer", of=approval.team)), approval, answer="reject", reason="No.")
    assert late.status_code == 409
    assert "Approved by rhea" in late.content.decode()
    assert Decision.objects.count() == 1


def test_a_double_click_is_one_decision(approval: Approval, rhea: User, browse: Browse) -> None:
    key = str(uuid7())
    pressed = [post(browse(rhea), approval, request_id=key).status_code for _ in range(2)]
    assert (pressed, Decision.objects.count()) == ([302, 302], 1)


def test_approving_a_manual_act_answers_409_and_posting_its_outcome_goes_on(rhea: User, browse: Browse) -> None:
    approval = questions.held(tier=4)
    refused = post(browse(rhea), approval)
    assert refused.status_code == 409
    assert "a person does it" in refused.content.decode()
    assert 'value="approve"' not in page(browse(rhea), approval)
    post(browse(rhea), approval, answer="outcome", outcome="Paid by hand, receipt R-1")
    assert questions.step_of(approval).answer["outcome"] == {"outcome": "Paid by hand, receipt R-1"}


@pytest.mark.parametrize(
    ("text", "stored"),
    [('{"receipt": "R-1"}', {"receipt": "R-1"}), ("[1, 2]", {"outcome": "[1, 2]"}), ("NaN", {"outcome": "NaN"})],
)
def test_an_outcome_is_a_json_object_or_a_sentence(
    text: str, stored: dict[str, Any], rhea: User, browse: Browse
) -> None:
    approval = questions.held(tier=4)
    assert post(browse(rhea), approval, answer="outcome", outcome=text).status_code == 302
    assert Decision.objects.get().outcome == stored


def test_arguments_are_edited_field_by_field(approval: Approval, rhea: User, browse: Browse) -> None:
    text = page(browse(rhea), approval)
    assert 'name="argument.amount" value="184.00"' in text
    assert "was 184.00" in text
    both = {"argument.order": "", "argument.amount": "a lot"}
    answer = post(browse(rhea), approval, answer="edit", **both)
    assert answer.status_code == 422
    assert 'Amount is "a lot"; it takes an amount such as 92.00' in unescape(answer.content.decode())
    post(browse(rhea), approval, answer="edit", **{"argument.order": "4711", "argument.amount": "92.00"})
    assert "92.00" in page(browse(rhea), approval)
    assert Approval.objects.get().state == Approval.State.EDITED
    assert Decision.objects.get().arguments == {"order": "4711", "amount": "92.00"}


def test_a_rejection_says_in_a_code_why(approval: Approval, rhea: User, browse: Browse) -> None:
    assert '<option value="wrong_target">Wrong target</option>' in page(browse(rhea), approval)
    assert post(browse(rhea), approval, answer="reject", code="other").status_code == 422
    assert post(browse(rhea), approval, answer="reject", code="wrong_target").status_code == 302
    assert "Rejected by rhea" in (text := page(browse(rhea), approval))
    assert ": Wrong target" in text
    doubt = page(browse(rhea), questions.doubted(approval.run, seq=3))
    assert "wrong_target" not in doubt


@pytest.mark.parametrize("wrong", [{"answer": ""}, {"answer": "maybe"}, {"request_id": "7"}, {"answer": "reject"}])
def test_a_form_that_is_not_right_is_told_what_would_be(
    wrong: dict[str, str], approval: Approval, rhea: User, browse: Browse
) -> None:
    assert post(browse(rhea), approval, **wrong).status_code == 422
    assert Approval.objects.get().is_open


def test_a_button_that_cannot_be_pressed_says_why(rhea: User, olga: User, browse: Browse) -> None:
    own = questions.held(questions.run(started_by=rhea))
    assert "You started this run; somebody else decides" in page(browse(rhea), own)
    assert "Deciding takes the role reviewer in Service" in page(browse(olga), own)
    for by in (rhea, olga):
        assert post(browse(by), own).status_code == 403


def test_a_stranger_sees_nothing(approval: Approval, stranger: User, browse: Browse) -> None:
    client = browse(stranger)
    assert "Nobody waits for you" in inbox(client)
    for address in (
        reverse("approvals:approval", args=[approval.pk]),
        reverse("approvals:step", args=[approval.run_id, approval.seq]),
        f"{reverse('approvals:approvals')}?selected={approval.pk}",
    ):
        assert client.get(address).status_code == 404
    assert post(client, approval).status_code == 404
    assert client.get(reverse("approvals:count")).content == b""
    assert Client().get(reverse("approvals:approval", args=[approval.pk])).status_code == 302


def test_the_badge_counts_what_one_may_answer(approval: Approval, rhea: User, olga: User, browse: Browse) -> None:
    questions.held(seq=3)
    assert browse(rhea).get(reverse("approvals:count")).content == b"2"
    assert browse(olga).get(reverse("approvals:count")).content == b""


def test_the_nearest_deadline_stands_first_and_pages_neither_repeat_nor_skip(
    rhea: User, browse: Browse, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = questions.run()
    asked = [questions.held(run, seq=seq) for seq in range(1, 8)]
    Approval.objects.update(alike="")  # each in a row of its own
    same, urgent = asked[0].due_at, asked[4]
    Approval.objects.filter(pk__in=[one.pk for one in asked[5:]]).update(due_at=same)
    Approval.objects.filter(pk=urgent.pk).update(due_at=same - SLO)
    monkeypatch.setattr("approvals.views.ROWS", 2)
    client, cursor, seen = browse(rhea), "", []
    for _ in range(4):
        answer = client.get(reverse("approvals:approvals"), {"cursor": cursor} if cursor else {})
        seen += [row.pk for row in answer.context["rows"]]
        cursor = answer.context["next_cursor"]
    expected = sorted(Approval.objects.all(), key=lambda one: (one.due_at, one.pk))
    assert seen == [one.pk for one in expected]
    assert (cursor, seen[0]) == (None, urgent.pk)


def test_filters_stand_in_the_address(rhea: User, browse: Browse) -> None:
    other = factories.agent("dispatch")
    act, doubt = questions.held(), questions.doubted(questions.run(other))
    settled = questions.held(seq=9)
    questions.settle(settled, by=rhea, answer="reject")
    client = browse(rhea)

    def listed(**filters: str) -> set[UUID]:
        return {row.pk for row in client.get(reverse("approvals:approvals"), filters).context["rows"]}

    assert listed() == {act.pk, doubt.pk}
    assert listed(kind="in_doubt") == listed(agent="dispatch") == {doubt.pk}
    assert listed(state="rejected") == {settled.pk}
    assert listed(state="all") == {act.pk, doubt.pk, settled.pk}
    assert "No question matches" in inbox(client, state="expired")
    offered = inbox(client)
    assert [one for one in Approval.State if one != "open" and f"state={one}" not in offered] == []
    for wrong in ({"state": "opne"}, {"kind": "x"}, {"cursor": "??"}, {"cursor": "MQ"}):
        assert client.get(reverse("approvals:approvals"), wrong).status_code == 422
    assert client.get(reverse("approvals:approvals"), {"selected": "7"}).status_code == 404


def test_the_header_says_how_many_are_answered_in_time(rhea: User, browse: Browse) -> None:
    assert "Nothing decided yet today" in inbox(browse(rhea))
    run, now = questions.run(), timezone.now()
    asked = [questions.held(run, seq=seq) for seq in range(1, 5)]
    for one in asked[:3]:
        questions.settle(one, by=rhea)
    late = [asked[2].pk, asked[3].pk]
    Approval.objects.filter(pk__in=late).update(due_at=now - SLO)
    ApprovalClock.objects.filter(approval__in=late).update(started_at=now - 2 * SLO)
    text = inbox(browse(rhea))
    assert "50.0\u00a0% decided in time today, of 95\u00a0% wanted within 15\u00a0min" in text
    assert "3 decided, 1 overdue now" in text
    assert "late, but silence approves nothing" in text


def test_leaving_requests_alone_makes_nobody_faster_and_samples_have_a_day(rhea: User) -> None:
    run, at = questions.run(), timezone.now()
    asked = [questions.held(run, seq=seq) for seq in range(1, 4)]
    questions.settle(asked[0], by=rhea)
    questions.settle(asked[1], by=rhea)
    Approval.objects.filter(pk=asked[1].pk).update(kind="sample")
    kept = queue.timeliness(rhea, at=at)
    assert (kept.decided, kept.expired, kept.share) == (1, 0, 1)
    Approval.objects.filter(pk=asked[2].pk).update(expires_at=timezone.now())
    assert expiring.expire_overdue() == 1
    kept = queue.timeliness(rhea, at=at)
    assert (kept.decided, kept.in_time, kept.expired, kept.overdue, kept.share) == (1, 1, 1, 0, 0.5)


def test_a_fragment_is_what_the_page_would_show_there(approval: Approval, rhea: User, browse: Browse) -> None:
    client = browse(rhea)
    for address, target, begins in (
        (reverse("approvals:approvals"), "inbox", '<div id="inbox"'),
        (reverse("approvals:approvals"), "queue", '<section class="card listing" id="queue"'),
        (
            reverse("approvals:approval", args=[approval.pk]),
            f"question-{approval.pk}",
            '<section class="card question"',
        ),
    ):
        text = client.get(address, **HTMX, HTTP_HX_TARGET=target).content.decode().strip()
        assert text.startswith(begins)
        assert "<html" not in text


def test_the_page_of_a_run_shows_who_was_asked_about_a_step(approval: Approval, rhea: User, browse: Browse) -> None:
    client, address = browse(rhea), reverse("approvals:step", args=[approval.run_id, approval.seq])
    assert 'name="answer"' in client.get(address).content.decode()
    answer = post(client, approval, place="step", headers=HTMX)
    assert "Approved by rhea" in answer.content.decode()
    text = client.get(address).content.decode()
    assert "Approved by rhea" in text
    assert 'name="answer"' not in text
    nothing = client.get(reverse("approvals:step", args=[approval.run_id, 99]))
    assert (nothing.status_code, b"question" in nothing.content) == (200, False)


def test_lists_ask_the_database_as_often_for_many_as_for_one(
    approval: Approval, rhea: User, browse: Browse, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    client = browse(rhea)
    for seq in range(10, 30):
        questions.held(approval.run, seq=seq)
        factories.step(approval.run, seq=100 + seq)
    for address, most in (
        (reverse("approvals:approvals"), 18),
        (reverse("approvals:approval", args=[approval.pk]), 15),
        (reverse("approvals:count"), 5),
    ):
        client.get(address)  # whoever opens one first has it in hand from then on
        with django_assert_max_num_queries(most):
            client.get(address)


def test_open_pages_hear_of_a_question_and_of_its_answer(
    team: Team, rhea: User, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    told: list[str] = []
    monkeypatch.setattr("cockpit.live.announce", lambda *topics: told.extend(topics))
    with django_capture_on_commit_callbacks(execute=True):
        approval = questions.held()
    assert {"approvals", f"approval:{approval.pk}", f"run:{approval.run_id}"} <= set(told)
    told.clear()
    with django_capture_on_commit_callbacks(execute=True):
        questions.settle(approval, by=rhea)
    assert {"approvals", f"approval:{approval.pk}", f"run:{approval.run_id}"} <= set(told)
