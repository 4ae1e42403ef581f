"""The pages of policies: what holds, who may do what and why, what if, and what makes an agent ask."""

import json
import re
from typing import Any
from urllib.parse import urlencode

import pytest
from django.test import Client

from agents.models import Agent, Team, Tool, ToolGrant, User
from approvals.models import PolicySet
from approvals.policies import escalating, loaded, publishing, trying
from approvals.policies.gate import PolicyGate
from tests import factories
from tests.approvals import questions
from tests.approvals.policies.rulebook import REFUND, RULES, enforce, publish
from tests.approvals.policies.test_circumstances import ASKS
from tests.toolbox import refund

pytestmark = pytest.mark.django_db
assert refund


@pytest.fixture
def payer(team: Team, governor: User) -> Agent:
    """An agent that was granted a refund, a note and a letter, and has to be 80 % sure."""
    made = factories.agent("payer", of=team)
    made.release = factories.release(made, thresholds={"confidence": 0.8}, tiers={"test.refund": 3})
    made.save(update_fields=["release"])
    for name, tier, writes in (("test.refund", 3, True), ("test.note", 1, True), ("test.letter", 4, True)):
        schema = {"properties": {"text": {"type": "string"}}, "required": ["text"]}
        fields = {"description": name, "schema": schema, "writes": writes, "tier": tier}
        tool, _ = Tool.objects.update_or_create(name=name, defaults=fields)
        ToolGrant.objects.create(agent=made, tool=tool, granted_by=governor)
    return made


@pytest.fixture
def page(client: Client, olga: User) -> Any:
    client.force_login(olga)

    def read(path: str, **query: object) -> str:
        response = client.get(f"/policies/{path}?{urlencode(query)}")
        assert response.status_code == 200, response.status_code
        return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()))

    return read


def test_without_policies_the_page_teaches_how_to_publish_some(page: Any) -> None:
    assert re.search(r"No policies are published.*Publish some", page(""))
    assert "no policies are enforced" in page("permissions/")


def test_the_page_shows_what_holds_its_rules_its_cases_and_the_others(page: Any) -> None:
    number = enforce().number
    other = publish('@id("open") permit(principal, action, resource);', cases=[{**CASE, "expect": "allow"}])
    text = page("")
    assert f"Rules of policies {number}" in text
    assert "Nobody pays back more than 1,000" in text
    assert "L2, 2 people" in text
    assert "A refund waits" in text
    assert f"Rules of policies {other.number}" in page("", version=other.number)


CASE = {"name": "A refund", "expect": "hold", "tool": "test.refund", "arguments": REFUND}


@pytest.mark.parametrize("version", ["99", "abc", "-1", "1" * 30, "²"])
def test_a_version_that_does_not_exist_is_said_so(client: Client, olga: User, version: str) -> None:
    client.force_login(olga)
    assert client.get("/policies/", {"version": version}).status_code == 404


def test_differences_of_what_is_only_tried_are_shown_to_those_who_see_the_agent(
    page: Any, client: Client, stranger: User, payer: Agent
) -> None:
    publishing.log_only(publish(), by=None)
    loaded.forget()
    PolicyGate().ask(questions.action(questions.run(by=payer)))
    trying.write()
    assert re.search(r"test\.refund step 2 payer allowed held ask-red", page(""))
    client.force_login(stranger)
    assert "payer" not in client.get("/policies/").content.decode()


def test_the_matrix_says_what_why_since_when_and_by_whom(page: Any, payer: Agent) -> None:
    enforce()
    text = page("permissions/")
    assert re.search(r"payer test\.refund tier 3 ask Policy \d+ asks for a person: ask-red: Money moves\.", text)
    assert re.search(r"May change by: ask-twice-over-500 , forbid-frozen , forbid-over-1000", text)
    assert re.search(r"payer test\.letter tier 4 ask", text)
    assert re.search(r"payer model\.call allow Its release names these models", text)
    assert "by gwen" in text
    assert "payer" not in page("permissions/", team="elsewhere")


def test_what_if_judges_what_somebody_makes_up(page: Any, payer: Agent) -> None:
    enforce()
    given = {"agent": "payer", "tool": "test.refund", "confidence": "0.9", "attempt": "", "approved": "", "version": ""}
    assert "deny" in page("what-if/", **given, arguments=json.dumps({**REFUND, "amount": "5000"}))
    held = page("what-if/", **given, arguments=json.dumps({**REFUND, "amount": "700"}))
    assert "L2, 2 people, within 30 min" in held
    let = page("what-if/", **{**given, "approved": "2"}, arguments=json.dumps({**REFUND, "amount": "700"}))
    assert "lets it through" in let
    assert "This is not JSON" in page("what-if/", **given, arguments="{order")
    assert not PolicySet.objects.filter(state="log_only").exists()


def test_what_if_supposes_the_circumstances_that_rules_speak_of(page: Any, payer: Agent) -> None:
    enforce(RULES + ASKS)
    given = {"agent": "payer", "tool": "test.note", "confidence": "0.9", "arguments": '{"text": "x"}'}
    for fact, word in (
        ({}, "lets it through"),
        ({"conflicting_results": "yes"}, "contradiction"),
        ({"conflicting_results": "no"}, "lets it through"),
        ({"abnormal_latency": "yes"}, "slow"),
        ({"customer_segment": "gold"}, "refuses it: gold"),
        ({"abnormal_latency": "yes", "environment": "sandbox"}, "lets it through"),
    ):
        assert word in page("what-if/", **given, **fact).partition("Policies Policy ")[2].partition("Zone")[0], fact
    assert "Zone yellow" in page("what-if/", **given)


def test_what_if_begins_with_the_arguments_that_a_tool_requires(client: Client, olga: User, payer: Agent) -> None:
    client.force_login(olga)
    begun = client.get("/policies/what-if/", {"agent": "payer", "tool": "test.note"})
    assert begun.context["form"].initial == {"tool": "test.note", "arguments": '{\n "text": ""\n}'}


def test_one_sentence_says_what_makes_an_agent_ask(client: Client, olga: User, payer: Agent) -> None:
    plain = escalating.sentence(payer)
    assert plain == (
        "A person approves every test.refund (tier 3), a person does test.letter by hand (tier 4) and a person looks "
        "before it writes anything of which it is not 80% sure; everything else it does alone."
    )
    number = enforce().number
    client.force_login(olga)
    text = client.get("/policies/agents/payer/").content.decode()
    asks = f"policy {number} asks about test.refund (Money moves; ask-twice-over-500)"
    assert asks in text
