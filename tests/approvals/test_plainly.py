"""What a question says in plain words: what is wanted, what a model call is about, what the answers mean."""

from html import unescape

import pytest
from django.test import Client
from uuid_utils.compat import uuid7

from agents.models import User
from agents.tools.people import ASK_PERSON
from approvals import question
from approvals.models import Approval
from tests import factories
from tests.approvals import questions

CHAIN = [
    {"provider": "simulated", "model": "sim-large", "region": "eu"},
    {"provider": "simulated", "model": "sim-small"},
]


def shown(approval: Approval, user: User) -> str:
    client = Client()
    client.force_login(user)
    return unescape(client.get(f"/approvals/{approval.pk}/").content.decode())


def brief(approval: Approval, user: User) -> question.Question:
    """As the page has it."""
    return question.brief(question.whole(user).get(pk=approval.pk), user)


def called(objective: str) -> Approval:
    """A question to a model that somebody has to let through."""
    asked = {"messages": 14, "chain": CHAIN}
    run = questions.run(objective=objective)
    return questions.held(run, kind="model", name="sim-large", says="", preview=(), arguments=asked)


def test_a_model_call_is_titled_by_what_its_run_is_for(rhea: User) -> None:
    approval = called("Summarise what cafés\n said about the mill. " + "And more. " * 40)
    assert str(approval).startswith("Ask sim-large about: Summarise what cafés said about the mill. And more.")
    assert len(str(approval)) < 240
    assert "sim-large" in shown(approval, rhea)
    told = brief(approval, rhea)
    assert told.given == [
        ("model", "sim-large · simulated · eu"),
        ("else", "sim-small · simulated"),
        ("messages", "14"),
    ]


def test_arguments_stand_in_the_order_of_the_tools_parameters(rhea: User) -> None:
    approval = questions.held(arguments={"amount": "184.00", "zone": "x", "order": "4711"})
    assert [name for name, _ in brief(approval, rhea).given] == ["order", "amount", "zone"]


def test_what_an_agent_offers_is_read_before_one_begins_to_answer(rhea: User) -> None:
    asked = {"question": "May they?", "options": ["Yes, from Monday.", "No."]}
    approval = questions.held(name=ASK_PERSON, says="May they?", arguments=asked, preview=(), tier=4)
    text = shown(approval, rhea)
    assert approval.kind == "question"
    assert text.index("It offers") < text.index("Yes, from Monday.") < text.index("Your answer")


@pytest.mark.parametrize(
    ("make", "title", "first"),
    [
        (questions.held, "What is asked", "Approve"),
        (questions.doubted, "Did this happen?", "It happened"),
        (
            lambda: questions.held(name="test.letter", tier=4, arguments={"text": "x"}),
            "What you are to do",
            "Post the outcome",
        ),
    ],
)
def test_the_page_says_what_is_wanted(rhea: User, make, title: str, first: str) -> None:
    approval = make()
    assert f"<h2>{title}</h2>" in shown(approval, rhea)
    assert brief(approval, rhea).choices[0].label == first


def test_what_was_found_of_a_doubt_is_said_as_it_was_found(rhea: User) -> None:
    approval = questions.doubted()
    questions.settle(approval, by=rhea, answer="outcome", outcome={"outcome": "It stands in the ledger."})
    text = shown(approval, rhea)
    assert "Found to have happened by rhea" in text
    assert ">It stands in the ledger.</pre>" in text
    assert ">Approved<" not in text


def test_who_decides_nothing_is_offered_no_ticks_and_reads_why(rhea: User, max_: User) -> None:
    run = questions.run()
    first, *_ = [questions.held(run, seq=seq, arguments={"order": str(seq), "amount": "9.00"}) for seq in (2, 3, 4)]
    for person, may in ((rhea, True), (max_, False)):
        client = Client()
        client.force_login(person)
        inbox = unescape(client.get("/approvals/").content.decode())
        assert ('form="selection"' in inbox, 'id="selection"' in inbox) == (may, may)
        group = unescape(client.get(f"/approvals/group/{first.pk}/").content.decode())
        assert ("Deciding takes the role reviewer in" in group, "<fieldset disabled>" in group) == (not may, not may)
        closed = client.get("/approvals/?state=all").content.decode()
        assert 'form="selection"' not in closed, "nothing stands there that decides them together"


def test_a_vote_that_is_not_the_last_is_not_called_an_approval(rhea: User) -> None:
    approval = questions.held()
    Approval.objects.filter(pk=approval.pk).update(votes_needed=2)
    client = Client()
    client.force_login(rhea)
    given = {"answer": "approve", "request_id": str(uuid7()), "place": "page"}
    answer = client.post(f"/approvals/{approval.pk}/decision/", given, headers={"HX-Request": "true"})
    assert answer["HX-Trigger"].startswith(
        '{"toast": {"hue": "ok", "text": "Your vote counts, and takes another: Refund'
    )


def test_where_there_is_no_team_yet_pages_say_how_one_comes(db: None) -> None:
    client = Client()
    client.force_login(factories.person("ada", "admin"))
    for path in ("/approvals/escalation/", "/notifications/endpoints/new/"):
        text = client.get(path).content.decode()
        assert "There is no team yet" in text
        assert "--create-team" in text
    client.force_login(factories.person("nil", "viewer", of=factories.team()))
    assert "There is no team yet" not in client.get("/approvals/escalation/").content.decode()
