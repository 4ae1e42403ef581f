"""The pages of agents, the page that starts a run, and the audit log, as the server gives them."""

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client

from agents import errors
from agents.audit import log as audit
from agents.llm import breakers, circuit
from agents.models import Agent, AuditEntry, Release, Run, Tool, ToolGrant, User
from agents.runs import agent_views, interventions
from tests import factories
from tests.agents.test_run_pages import ended, signed_in, text

pytestmark = pytest.mark.django_db


@pytest.fixture
def client(olga: User) -> Client:
    """A browser in which olga is signed in."""
    return signed_in(olga)


def grant(agent: Agent, name: str, tier: int, **fields: Any) -> None:
    """The agent may use a tool."""
    given = {"description": "Does it.", "schema": {}, "writes": tier > 1, "tier": tier} | fields
    tool, _ = Tool.objects.get_or_create(name=name, defaults=given)
    ToolGrant.objects.create(agent=agent, tool=tool)


# --- agents
def test_an_agent_says_in_one_sentence_when_it_asks_people(agent: Agent) -> None:
    assert agent_views.escalates(agent).startswith("It never asks a person")
    grant(agent, "payments.Refund", 3)
    assert agent_views.escalates(agent) == "A person approves every payments.Refund; everything else it does alone."
    grant(agent, "orders.cancel", 3)
    grant(agent, "repairs.arrange", 4)
    assert agent_views.escalates(agent) == (
        "A person approves every orders.cancel and payments.Refund and a person does repairs.arrange by hand; "
        "everything else it does alone."
    )


def test_the_page_of_an_agent_shows_what_it_is_and_may_do(client: Client, agent: Agent, run: Run) -> None:
    grant(agent, "payments.refund", 3, compensation="payments.recharge")
    ended(run, "failed", failure_class="limit:steps")
    page = text(client, f"/agents/{agent.slug}/")
    for told in ("payments.refund", "can be undone", "assisted", "simulated model", "20 steps", "limit:steps"):
        assert told in page
    assert f'action="/agents/{agent.slug}/freeze/"' in page


def test_runs_that_wait_for_the_next_try_are_not_said_to_wait_on_people(client: Client, agent: Agent) -> None:
    def wait(waits: Run.Waits) -> str:
        run = factories.run(agent)
        Run.objects.filter(pk=run.pk).update(state="waiting", waits=waits, waiting_for=waits.label)
        return text(client, f"/agents/{agent.slug}/")

    page = wait(Run.Waits.RETRY)
    assert "none of them on people" in page
    assert '<span class="muted small">for the next try</span>' in page
    assert '<span class="state wait">1 on people</span>' in wait(Run.Waits.DOUBT)


def test_an_agent_says_which_of_its_models_is_left_alone_and_that_it_works_degraded(
    client: Client, agent: Agent
) -> None:
    chain = [{"provider": "acme", "model": "large"}, {"provider": "beta", "model": "small"}]
    degraded = {"models": chain[1:]}
    agent.release = factories.release(agent, models=chain, degraded=degraded)
    agent.save()
    gone = errors.OutsideError("large is overloaded", kind="overloaded", permanent=False)
    for _ in range(circuit.FAILURES):
        breakers.report_now(breakers.admit_now("other/large"), gone)
    assert "failures in a row" not in text(client, f"/agents/{agent.slug}/")
    for _ in range(circuit.FAILURES):
        breakers.report_now(breakers.admit_now("acme/large"), gone)
    page = text(client, f"/agents/{agent.slug}/")
    assert '<span class="state bad">breaker open</span> <b>acme/large</b>' in page
    assert "large is overloaded" in page
    assert "<b>Degraded:</b> its first model is away" in page


def test_a_frozen_agent_says_who_when_why_and_what_drains(client: Client, agent: Agent, olga: User) -> None:
    interventions.freeze(agent, by=olga, reason="odd refunds", request_id=uuid4())
    page = text(client, f"/agents/{agent.slug}/")
    assert "<b>Frozen by olga</b>" in page
    assert "“odd refunds” No run of it starts another step" in page
    assert "nothing is in flight any more" in page
    assert f'action="/agents/{agent.slug}/thaw/"' in page


def test_an_agent_without_a_release_says_what_is_missing(client: Client, agent: Agent) -> None:
    Agent.objects.update(release=None)
    page = text(client, f"/agents/{agent.slug}/")
    assert "Nothing is published" in page
    assert "New run" not in page
    assert "not published" in text(client, "/agents/")


def test_who_may_not_freeze_is_told_why(agent: Agent, max_: User) -> None:
    page = text(signed_in(max_), f"/agents/{agent.slug}/")
    assert "Freezing takes the role operator in Service." in page
    assert "/freeze/" not in page


def test_freezing_answers_with_the_controls_and_a_word(client: Client, agent: Agent) -> None:
    headers = {"HX-Request": "true", "HX-Target": "controls"}
    answer = client.post(f"/agents/{agent.slug}/freeze/", {"reason": "odd refunds"}, headers=headers)
    assert 'id="controls"' in answer.content.decode()
    assert "frozen" in json.loads(answer["HX-Trigger"])["toast"]["text"]


@pytest.mark.parametrize("part", ["controls", "standing", "latest"])
def test_a_fragment_of_the_agent_is_the_element_it_replaces(client: Client, agent: Agent, part: str) -> None:
    answer = client.get(f"/agents/{agent.slug}/", headers={"HX-Request": "true", "HX-Target": part})
    assert f'id="{part}"' in answer.content.decode().lstrip()[:60]


# --- starting
def start(client: Client, **fields: str) -> Any:
    return client.post(
        "/runs/new/", {"agent": "desk", "objective": "Answer ticket 882", "request_id": uuid4(), **fields}
    )


def test_a_run_is_started_with_its_facts_and_one_press_is_one_run(client: Client, agent: Agent, olga: User) -> None:
    pressed = uuid4()
    for _ in range(2):
        answer = start(client, input='{"order": 4711}', request_id=pressed)
    run = Run.objects.get()
    assert answer["Location"] == f"/runs/{run.pk}/"
    assert (run.objective, run.input, run.started_by) == ("Answer ticket 882", {"order": 4711}, olga)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"input": "{order"}, "This is not JSON"),
        ({"input": "[1]"}, "Facts have names"),
        ({"objective": " "}, "This field is required"),
        ({"agent": "nobody"}, "is not one of the available choices"),
    ],
)
def test_what_cannot_be_started_is_said_beside_what_was_typed(
    client: Client, agent: Agent, fields: dict[str, str], sentence: str
) -> None:
    answer = start(client, **fields)
    assert answer.status_code == 422
    assert sentence in answer.content.decode()
    assert not Run.objects.exists()


def test_an_empty_form_says_nothing_that_nobody_typed(client: Client, agent: Agent) -> None:
    page = text(client, "/runs/new/")
    assert ">null<" not in page


def test_another_like_this_takes_over_what_was_asked(client: Client, run: Run) -> None:
    Run.objects.update(input={"order": 4711})
    page = text(client, f"/runs/new/?like={run.pk}")
    assert "Look at the ticket." in page
    assert "{ &quot;order&quot;: 4711 }" in page


@pytest.mark.parametrize("like", ["nonsense", "01980000-0000-7000-8000-000000000000"])
def test_another_like_what_is_not_there_is_an_empty_form(client: Client, agent: Agent, like: str) -> None:
    assert "</textarea>" in text(client, f"/runs/new/?like={like}")


def test_what_an_agent_may_do_stands_beside_the_form(client: Client, agent: Agent, olga: User) -> None:
    grant(agent, "payments.refund", 3)
    interventions.freeze(agent, by=olga, reason="odd refunds", request_id=uuid4())
    answer = client.get("/runs/new/?agent=desk", headers={"HX-Request": "true", "HX-Target": "about"})
    about = " ".join(answer.content.decode().split())
    assert about.startswith('<section id="about"')
    assert "A person approves every payments.refund" in about
    assert "it begins when the agent is thawed" in about


def test_an_agent_that_follows_recordings_is_not_on_offer(client: Client, agent: Agent) -> None:
    replayed = factories.agent("replayed", of=agent.team)
    Agent.objects.filter(pk=replayed.pk).update(
        release=factories.release(replayed, models=[{"provider": "recorded", "model": "modest-1"}])
    )
    page = text(client, "/runs/new/")
    assert '<option value="desk" selected>' in page
    assert "replayed" not in page


def test_nobody_starts_runs_of_a_team_that_is_not_theirs(agent: Agent, stranger: User, rhea: User) -> None:
    assert start(signed_in(stranger)).status_code == 422  # there is no such choice
    assert start(signed_in(rhea)).status_code == 403
    assert not Run.objects.exists()


WORKSPACE = """
version = "0.1"
[agent]
slug = "night"
team = "service"
owner = "olga"
[prompts]
system = "Be brief."
[[models]]
provider = "simulated"
model = "sim-small"
"""


def test_an_agent_of_the_workspace_is_tried_in_the_sandbox(
    client: Client, team: Any, tmp_path: Path, settings: Any
) -> None:
    settings.WORKSPACE = tmp_path
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "night.toml").write_text(WORKSPACE)
    assert '<option value="draft:night" selected>night, as its file is now</option>' in text(client, "/runs/new/")
    start(client, agent="draft:night")
    run = Run.objects.get()
    assert (run.agent.slug, run.environment, run.release.state) == ("night", "sandbox", Release.State.DRAFT)
    assert run.agent.release is None  # nothing was published


# --- audit
@pytest.fixture
def entries(run: Run, olga: User) -> None:
    """What olga did to a run, and what the engine did."""
    interventions.pause(run, by=olga, reason="look at this", request_id=uuid4())
    audit.record("run.failed", about=run, by=None, reason="No card.", failure_class="step_failed")
    audit.record("run.cancel", about=run, by=olga, outcome="denied")


def test_the_log_says_who_did_what_to_what_and_why(client: Client, entries: None, run: Run) -> None:
    page = text(client, "/audit/")
    for told in ("run.pause", "look at this", "No card.", "failure class step_failed", f'href="/runs/{run.pk}/"'):
        assert told in page
    assert '<span class="state bad">Denied</span>' in page
    assert page.count("no reason given") == 2  # of people: who started it, who was denied


@pytest.mark.parametrize(
    ("query", "verbs"),
    [
        ("by=olga&outcome=done", {"run.started", "run.pause"}),
        ("by=cockpit", {"run.failed"}),
        ("outcome=denied", {"run.cancel"}),
        ("kind=agent", set()),
        ("verb=run.pause", {"run.pause"}),
    ],
)
def test_the_log_is_narrowed_by_its_address(client: Client, entries: None, query: str, verbs: set[str]) -> None:
    shown = client.get(f"/audit/?{query}").context["entries"]
    assert {entry.verb for entry in shown} == verbs


def test_what_narrows_the_log_can_be_taken_back(client: Client, entries: None) -> None:
    assert 'href="/audit/?outcome=denied">by olga' in text(client, "/audit/?by=olga&outcome=denied")
    assert "No entry matches" in text(client, "/audit/?by=nobody")


def test_a_stranger_reads_nothing_of_ours(entries: None, stranger: User) -> None:
    assert AuditEntry.objects.filter(verb="run.pause").exists()
    assert "run.pause" not in text(signed_in(stranger), "/audit/")
