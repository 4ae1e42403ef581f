"""How sure agents say they are, against how right they were: counted, shown, and turned into a threshold."""

import re
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings as configured
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries
from uuid_utils.compat import uuid7

from agents import errors
from agents.models import Agent, AuditEntry, Autonomy, Override, Role, User
from approvals.learning import calibration, charts, criteria, thresholds
from approvals.learning.statistics import Share
from approvals.models import Approval
from tests import factories
from tests.approvals import questions
from tests.approvals.learning import decided

LONG_AGO = timezone.now() - timedelta(days=3650)
RIGHT, WRONG = "approved", "rejected"


@pytest.fixture
def refunds(agent: Agent) -> Agent:
    """An agent with a tool, so that its threshold can be changed."""
    made: Agent = factories.agent("refunds")
    made.release = factories.release(made, tools=["test.refund"], thresholds={"confidence": 0.5})
    made.save(update_fields=["release"])
    return made


def plain(client: Client, address: str) -> str:
    """The words of a page."""
    words = re.sub(r"<[^>]+>", " ", client.get(address).content.decode()).replace("\N{NO-BREAK SPACE}", " ")
    return re.sub(r" ([.,])", r"\1", re.sub(r"\s+", " ", words))


def test_what_was_said_is_counted_with_what_came_true(refunds: Agent, rhea: User) -> None:
    rows = decided.judged(
        refunds, [(0.9, RIGHT), (0.9, WRONG), (0.9, "edited"), (0.91, RIGHT), (0.29, RIGHT), (None, RIGHT)], by=rhea
    )
    decided.take_back(rows[3])
    found = calibration.of(refunds.pk, tool=decided.TOOL, since=LONG_AGO)
    assert [(cell.place, cell.of, cell.right) for cell in found.cells] == [(29, 1, 1), (90, 3, 1), (91, 1, 0)]
    assert found.silent == Share(1, 1)
    assert found.judged == Share(3, 6)
    assert found.error == pytest.approx((4 * (0.9025 - 0.25) + (1 - 0.29)) / 5)


def test_only_what_says_something_about_the_agent_counts(refunds: Agent, rhea: User) -> None:
    decided.judged(refunds, [(0.9, RIGHT)], by=rhea, tier=4)
    decided.judged(refunds, [(0.9, RIGHT)], by=rhea, kind=Approval.Kind.IN_DOUBT)
    decided.judged(refunds, [(0.9, RIGHT)], by=rhea, bound={"kind": "tool", "compensates": 3})
    decided.judged(refunds, [(0.9, RIGHT)], by=rhea, bound={"kind": "model"})
    decided.judged(refunds, [(0.9, RIGHT)], by=rhea, ago=timedelta(days=200))
    recently = calibration.since(timezone.now())
    assert calibration.of(refunds.pk, since=recently).judged == Share(0, 0)
    decided.judged(refunds, [(0.9, RIGHT)], by=rhea, kind=Approval.Kind.SAMPLE, tier=2)
    assert calibration.of(refunds.pk, since=recently).judged == Share(1, 1)


def test_many_agents_take_two_queries(
    refunds: Agent, agent: Agent, rhea: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for one in (refunds, agent):
        for tool in ("a.read", "b.write"):
            decided.judged(one, [(0.8, RIGHT), (0.3, WRONG)], by=rhea, tool=tool)
    with django_assert_num_queries(2):
        found = calibration.of_agents([refunds.pk, agent.pk], since=LONG_AGO)
    assert {pk: [one.tool for one in tools] for pk, tools in found.items()} == {
        refunds.pk: ["a.read", "b.write"],
        agent.pk: ["a.read", "b.write"],
    }


def test_a_question_says_how_right_the_agent_was_when_it_was_as_sure(rhea: User, client: Client) -> None:
    asked = questions.held()
    like = [(0.62, RIGHT)] * 7 + [(0.66, "edited")] * 2 + [(0.69, WRONG)]
    decided.judged(asked.agent, like, by=rhea)
    decided.judged(asked.agent, [(0.99, RIGHT)], by=rhea, ago=timedelta(days=40))
    client.force_login(rhea)
    page = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", client.get(f"/approvals/{asked.pk}/").content.decode()))
    assert "says 62 % , right 70 % of such times (n = 10 )".replace(" ,", ",").replace("10 )", "10)") in page.replace(
        "\N{NO-BREAK SPACE}", " "
    )
    assert "7 approved, 2 edited, 1 rejected in 30 days" in page


def test_the_page_proposes_a_threshold_and_somebody_puts_it_in_force(
    refunds: Agent, rhea: User, olga: User, client: Client
) -> None:
    decided.judged(refunds, [(0.8, RIGHT)] * 60 + [(0.6, WRONG)] * 10 + [(0.6, RIGHT)] * 5, by=rhea)
    client.force_login(olga)
    address = f"/approvals/calibration/{refunds.slug}/"
    page = client.get(address).content.decode()
    assert 'name="threshold" value="0.61"' in page
    client.post(f"{address}threshold/", {"threshold": "0.61", "reason": "So it was right.", "request_id": str(uuid7())})
    made = Override.objects.get(agent=refunds, parameter="thresholds.confidence")
    assert (made.value, made.by, made.run) == (0.61, olga, None)
    assert thresholds.in_force(refunds).value == 0.61
    assert "That is the threshold it works with" in client.get(address).content.decode()


def test_showing_people_less_than_the_release_promises_takes_governance(
    refunds: Agent, rhea: User, olga: User, client: Client
) -> None:
    client.force_login(olga)
    answer = client.post(
        f"/approvals/calibration/{refunds.slug}/threshold/",
        {"threshold": "0.2", "reason": "It is good.", "request_id": str(uuid7())},
    )
    assert answer.status_code == 403
    assert not Override.objects.exists()


def test_a_tool_with_figures_enough_gets_a_threshold_of_its_own_and_another_is_held_to_that_of_all(
    refunds: Agent, rhea: User, olga: User, client: Client
) -> None:
    decided.judged(refunds, [(0.9, RIGHT)] * 60 + [(0.85, WRONG)] * 10, by=rhea)
    decided.judged(refunds, [(0.7, RIGHT)] * 30, by=rhea, tool="test.note")
    client.force_login(olga)
    address = f"/approvals/calibration/{refunds.slug}/"
    own = plain(client, f"{address}?tool=test.refund")
    assert "for test.refund · n = 70" in own
    assert "From 0.86 on it was right in 100 % of 60 acts with test.refund" in own
    few = plain(client, f"{address}?tool=test.note")
    assert "test.note was judged in 30 acts with a confidence. From 50 on" in few
    assert "for every tool of refunds · n = 100" in few
    given = {"tool": "test.refund", "threshold": "0.86", "reason": "So it was right.", "request_id": str(uuid7())}
    assert client.post(f"{address}threshold/", given).headers["Location"] == f"{address}?tool=test.refund"
    refund, note = (thresholds.in_force(refunds, tool) for tool in ("test.refund", "test.note"))
    assert (refund.value, refund.is_own, note.value, note.is_own) == (0.86, True, 0.5, False)
    kept = AuditEntry.objects.get(verb="override.made")
    assert kept.detail["evidence"] == {"days": 90, "right": 60, "of": 60, "said": 70}
    assert [
        "Threshold 0.86" in client.get(f"{address}{tool}").content.decode() for tool in ("?tool=test.refund", "")
    ] == [
        True,
        False,
    ], "the diagram draws what holds for the tool"


def test_the_page_says_where_a_threshold_raised_for_all_tools_is_stricter_than_a_tools_own(
    refunds: Agent, rhea: User, olga: User, client: Client
) -> None:
    decided.judged(refunds, [(0.9, RIGHT)] * 60 + [(0.85, WRONG)] * 10, by=rhea)
    given = {"by": olga, "reason": "A bad day."}
    thresholds.put_in_force(refunds, value=0.95, request_id=uuid7(), **given)
    client.force_login(olga)
    address = f"/approvals/calibration/{refunds.slug}/?tool={decided.TOOL}"
    assert "All tools are held to 0.95" not in plain(client, address), "there is none of its own that it hides"
    thresholds.put_in_force(refunds, tool=decided.TOOL, value=0.8, request_id=uuid7(), **given)
    found = thresholds.in_force(refunds, decided.TOOL)
    assert (found.value, found.is_own, found.own) == (0.95, False, 0.8)
    page = plain(client, address)
    assert "stricter than its own, 0.8" in page
    assert "All tools are held to 0.95 until" in page
    assert "of both the stricter holds, so a lower one for test.refund changes nothing before" in page
    thresholds.put_in_force(refunds, tool=decided.TOOL, value=0.86, request_id=uuid7(), **given)
    page = plain(client, address)
    assert "That is its own threshold. Until" in page
    assert "Put 0.86 in force" not in page


def test_a_tool_that_is_not_right_often_enough_borrows_no_threshold_from_others(refunds: Agent, rhea: User) -> None:
    decided.judged(refunds, [(0.9, RIGHT)] * 5000, by=rhea, tool="test.note")
    decided.judged(refunds, [(0.9, RIGHT)] * 40 + [(0.9, WRONG)] * 20, by=rhea)
    known = calibration.of_agents([refunds.pk], since=LONG_AGO)[refunds.pk]
    whole = calibration.together(known)
    assert thresholds.proposed(whole).threshold is not None
    found = thresholds.proposed(whole, calibration.one_of(known, decided.TOOL))
    assert (found.tool, found.threshold, found.of, found.too_few) == (decided.TOOL, None, 60, None)


def test_the_page_says_who_may_ask_people_less_and_where_they_are_asked_anyway(
    refunds: Agent, rhea: User, olga: User, client: Client
) -> None:
    decided.judged(refunds, [(0.9, RIGHT)] * 60 + [(0.3, WRONG)] * 10, by=rhea)
    address = f"/approvals/calibration/{refunds.slug}/?tool={decided.TOOL}"
    client.force_login(olga)
    page = plain(client, address)
    assert "By its release it is 0.5; a lower one shows fewer acts to people, which takes the role governance" in page
    assert "in force for test.refund" not in page, "no button that would be refused"
    assert "a person is asked each time" not in page
    client.force_login(factories.person("gwen", Role.GOVERNANCE, of=refunds.team))
    assert "Put 0.31 in force for test.refund" in plain(client, address)
    refunds.release = factories.release(refunds, tools=[decided.TOOL], tiers={decided.TOOL: 3})
    refunds.save(update_fields=["release"])
    asked = "test.refund is tier 3 now: a person is asked each time."
    assert asked in plain(client, address)
    Autonomy.objects.create(
        agent=refunds, tool=decided.TOOL, was=3, tier=2, granted_by=rhea, reason="It was right.", request_id=uuid7()
    )
    assert asked not in plain(client, address), "it has earned to do it alone"


def test_nothing_is_proposed_from_few_cases(refunds: Agent, rhea: User, client: Client) -> None:
    decided.judged(refunds, [(0.8, RIGHT)] * 20, by=rhea)
    client.force_login(rhea)
    assert "No threshold is proposed" in client.get(f"/approvals/calibration/{refunds.slug}/").content.decode()
    assert "How right refunds was" in client.get(
        f"/approvals/calibration/{refunds.slug}/", headers={"HX-Request": "true", "HX-Target": "calibration"}
    ).content.decode().replace("\N{NO-BREAK SPACE}", " ")


def test_the_diagram_is_drawn_with_its_threshold_over_one_table(refunds: Agent, rhea: User, client: Client) -> None:
    decided.judged(refunds, [(0.85, RIGHT), (0.85, WRONG), (1.0, RIGHT)], by=rhea)
    figure = charts.reliability(calibration.of(refunds.pk, since=LONG_AGO), threshold=0.7, proposed=0.8)
    right, said, *marks = figure["data"]
    assert (right["x"], right["y"], said["y"]) == ([85.0, 95.0], [50.0, 100.0], [85.0, 100.0])
    assert [(mark["name"], mark["x"], mark["meta"]) for mark in marks] == [
        ("Right as often as said", [0, 100], "mark"),
        ("Threshold 0.7", [70.0, 70.0], "mark"),
        ("Proposed 0.8", [80.0, 80.0], "mark"),
    ]
    client.force_login(rhea)
    page = client.get(f"/approvals/calibration/{refunds.slug}/?tool={decided.TOOL}").content.decode()
    assert re.findall(r'aria-details="([^"]+)"', page) == ["said-and-right"]
    (table,) = re.findall(r"<table.*?</table>", page, re.DOTALL)
    words = re.sub(r"[\s\N{NO-BREAK SPACE}]+", " ", re.sub(r"<[^>]+>", " ", table))
    assert "80 % to 90 % 50.0 % 9.5 % to 90.5 % 85.0 % 2 90 % to 100 % 100 % 20.7 % to 100 % 100 % 1" in words


def test_a_wrong_setting_is_named_and_what_held_before_holds_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(configured, "WORKSPACE", tmp_path)
    file = tmp_path / criteria.FILE
    file.write_text('never = ["payments.refund"]\n[supervised]\nruns = 500\n')
    assert criteria.current().supervised.runs == 500
    assert criteria.current().supervised.right == 0.992
    assert criteria.current().never == ("payments.refund",)
    for text, sentence in {
        "[supervised]\nrun = 5\n": r"\[supervised\] run means nothing here. .*runs",
        "[supervised]\nright = 99\n": r"\[supervised\] right is 99",
        "never = 1\n": "never is 1",
        "[drift": "is not TOML",
    }.items():
        file.write_text(text)
        with pytest.raises(errors.Invalid, match=sentence):
            criteria.read(file)
        assert criteria.current().supervised.runs == 500
        assert criteria.problem()
