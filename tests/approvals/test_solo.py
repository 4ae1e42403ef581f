"""Solo mode: for one person, said on every page, kept with every decision it allowed."""

from html import unescape

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from agents import errors
from agents.models import AuditEntry, Role, User
from agents.people import accounts
from approvals import solo
from approvals.models import Approval, Solo
from tests.approvals import questions
from tests.approvals.questions import settle

pytestmark = pytest.mark.django_db


@pytest.fixture
def own(rhea: User) -> Approval:
    """What rhea's own run asks."""
    return questions.held(questions.run(started_by=rhea))


def test_it_lifts_the_separation_for_one_person_and_says_so_on_the_decision(own, rhea, client: Client, capsys):
    with pytest.raises(errors.Forbidden, match="You started this run"):
        settle(own, by=rhea)
    call_command("solo", "rhea", "--on", "--reason", "She is alone until Monday.")
    made = settle(own, by=rhea)
    assert made.solo == "You started this run; somebody else decides what it may do."
    entry = AuditEntry.objects.get(verb="approval.decided", outcome="done")
    assert entry.detail["solo"] == made.solo
    client.force_login(rhea)
    assert "You started this run; somebody else decides" in unescape(client.get(f"/approvals/{own.pk}/").text)
    assert client.get(f"/api/v1/approvals/{own.pk}").json()["decision"]["solo"] == made.solo


def test_every_page_shows_it_to_everybody_while_it_is_on(rhea, olga, client: Client, capsys):
    client.force_login(olga)
    call_command("solo", "rhea", "--on", "--reason", "She is alone until Monday.")
    for path in ("/", "/runs/", "/approvals/", "/me/", "/audit/"):
        text = client.get(path).text
        assert "Solo mode: rhea may decide what they started" in text, path
        assert "She is alone until Monday." in text
    call_command("solo", "rhea", "--off")
    assert "Solo mode" not in client.get("/").text
    kept = list(AuditEntry.objects.filter(verb__startswith="solo.").order_by("pk").values_list("verb", flat=True))
    assert kept == ["solo.switched_on", "solo.switched_off"]
    assert Solo.objects.get().ended_at is not None


def test_it_lifts_nothing_for_anybody_else_nor_for_a_token(own, rhea, team):
    solo.switch_on(rhea, reason="She is alone.")
    token, _ = accounts.create_token("rheas", role=Role.REVIEWER, owner=rhea, by=None, team=team)
    with pytest.raises(errors.Forbidden, match="stands behind both of you"):
        settle(own, by=token.user)


def test_it_lifts_neither_the_role_nor_the_level_nor_the_votes(own, rhea, olga):
    for user in (rhea, olga):
        solo.switch_on(user, reason="They are alone.")
    with pytest.raises(errors.Forbidden, match="takes the role reviewer"):
        settle(own, by=olga)
    Approval.objects.update(level=2)
    with pytest.raises(errors.Forbidden, match="This is L2"):
        settle(own, by=rhea)
    Approval.objects.update(level=1, votes_needed=2)
    settle(own, by=rhea)
    with pytest.raises(errors.Forbidden, match="You voted at"):
        settle(own, by=rhea)


def test_a_decision_that_needed_no_exception_says_nothing(rhea):
    solo.switch_on(rhea, reason="She is alone.")
    assert settle(questions.held(), by=rhea).solo == ""


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["rhea", "--on"], "Say why there is nobody else"),
        (["nobody", "--on", "--reason", "x"], "no such account"),
        (["rhea", "--off"], "is not on for rhea"),
        (["rhea"], "one of the arguments --on --off is required"),
    ],
)
def test_what_is_wrong_is_one_sentence(rhea, words, sentence):
    with pytest.raises(CommandError, match=sentence):
        call_command("solo", *words)


def test_it_is_on_once(rhea):
    solo.switch_on(rhea, reason="She is alone.")
    with pytest.raises(errors.Conflict, match="on for rhea already"):
        solo.switch_on(rhea, reason="She is alone.")
