"""The pages of runs as the server gives them: the list and its query, one run in every state, and starting another."""

import csv
import json
import re
import time
from datetime import timedelta
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from agents import errors
from agents.models import Agent, Run, StepPayload, Team, User
from agents.runs import finding, interventions
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def client(olga: User) -> Client:
    """A browser in which olga is signed in."""
    return signed_in(olga)


def signed_in(person: User) -> Client:
    browser = Client()
    browser.force_login(person)
    return browser


def text(client: Client, path: str, status: int = 200) -> str:
    """A page as one reads its source, spaces aside."""
    page = client.get(path)
    assert page.status_code == status
    return " ".join(page.content.decode().split())


def ended(run: Run, state: str, **fields: Any) -> Run:
    """The run, ended so."""
    now = timezone.now()
    moved = {"state": state, "finished_at": now, "started_at": now - timedelta(seconds=6), **fields}
    Run.objects.filter(pk=run.pk).update(**moved)
    run.refresh_from_db()
    return run


# --- finding runs
def found(user: User, query: str) -> set[str]:
    return {run.objective for run in finding.find(user, query)}


@pytest.fixture
def several(agent: Agent, olga: User, team: Team) -> None:
    """Three runs that differ in everything a query may ask for."""
    ended(factories.run(agent, by=olga, objective="Ship order 4711"), "completed", cost="0.75")
    refunds = factories.agent("refunds", of=team)
    ended(factories.run(refunds, objective="Refund order 4712"), "failed", failure_class="limit:steps", cost="0.02")
    factories.run(refunds, objective='Look at "Re: beans"', queue="bulk")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {"Ship", "Refund", "Look"}),
        ("state:failed", {"Refund"}),
        ("state:failed,queued", {"Refund", "Look"}),
        ("agent:refunds", {"Refund", "Look"}),
        ("agent:refunds,desk state:completed", {"Ship"}),
        ("cost:>0.50", {"Ship"}),
        ("cost:<0.5 state:failed", {"Refund"}),
        ("since:1h", {"Ship", "Refund", "Look"}),
        ("failure:limit", {"Refund"}),
        ("queue:bulk", {"Look"}),
        ("by:OLGA", {"Ship"}),
        ("by:cockpit", {"Refund", "Look"}),
        ("order 4712", {"Refund"}),
        ('"Re: beans"', {"Look"}),
        ("STATE:failed", {"Refund"}),
    ],
)
def test_a_query_finds_what_it_says(several: None, olga: User, query: str, expected: set[str]) -> None:
    assert {objective.split()[0] for objective in found(olga, query)} == expected


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("stat:failed", "“stat:” filters nothing here. Runs are found by state, waits, agent, cost"),
        ("state:broken", "“broken” is no state; runs are queued, running"),
        ("state:", "“state:” needs a value, such as state:failed."),
        ("cost:>much", "“>much” is not an amount; write cost:>0.50"),
        ("since:yesterday", "“yesterday” is no stretch of time; write since:30m"),
        ("waits:godot", "“godot” is nothing that runs wait for; they wait for people, approval, doubt, decision"),
        ("queue:fast", "“fast” is no queue; there are model, tool, control, bulk."),
        ("agent:nobody", "There is no agent “nobody” that you may see."),
    ],
)
def test_a_query_that_cannot_be_read_says_what_would_be_right(
    several: None, client: Client, olga: User, query: str, sentence: str
) -> None:
    with pytest.raises(errors.Invalid, match=sentence.split("; ")[0].replace("?", r"\?")):
        finding.find(olga, query)
    page = text(client, f"/runs/?q={query.replace('>', '%3E')}")
    assert sentence.split(" ")[0].replace(">", "&gt;") in page
    assert "The query above cannot be read." in page


def test_whoever_waits_for_people_is_told_from_whoever_waits_for_room(agent: Agent, olga: User) -> None:
    for waits in ("approval", "decision", "capacity", "retry"):
        run = factories.run(agent, objective=waits)
        Run.objects.filter(pk=run.pk).update(state="waiting", waits=waits)
    assert found(olga, finding.VIEWS["waiting"][1]) == {"approval", "decision"}
    assert found(olga, "waits:capacity,decision") == {"capacity", "decision"}


def test_every_saved_view_can_be_read(several: None, olga: User) -> None:
    for _, query in finding.VIEWS.values():
        list(finding.find(olga, query))


def test_a_stranger_finds_nothing_of_it(several: None, stranger: User) -> None:
    assert found(stranger, "") == set()
    page = text(signed_in(stranger), "/runs/")
    assert "No run yet" in page
    assert "agent:desk" not in page  # nor what the query bar would offer


def test_what_nobody_counted_is_unknown_and_what_is_simulated_says_so(client: Client, run: Run) -> None:
    factories.step(run, kind="model", name="sim-small")
    Run.objects.update(unpriced=1, steps_done=1)
    page = text(client, "/runs/")
    assert '<span class="muted">unknown</span>' in page
    assert ">unpriced<" in page
    assert ">simulated<" in page
    Run.objects.update(tokens_in=1200, tokens_out=34)
    assert ">1,234<" in text(client, "/runs/")


def test_the_list_can_be_taken_along_as_it_stands(several: None, client: Client) -> None:
    page = client.get("/runs/?q=agent:refunds&as=json")
    assert page["Content-Disposition"].startswith('attachment; filename="runs-')
    items = json.loads(page.content)["items"]
    assert [item["objective"].split()[0] for item in items] == ["Look", "Refund"]
    assert items[1]["failure_class"] == "limit:steps"
    rows = list(csv.DictReader(StringIO(client.get("/runs/?q=agent:refunds&as=csv").content.decode())))
    assert [row["state"] for row in rows] == ["queued", "failed"]


def test_a_spreadsheet_neither_computes_an_objective_nor_takes_unknown_for_nothing(client: Client, run: Run) -> None:
    factories.step(run, kind="model", name="sim-small")
    Run.objects.update(objective="=1+1", unpriced=1)
    (row,) = csv.DictReader(StringIO(client.get("/runs/?as=csv").content.decode()))
    assert (row["objective"], row["tokens_in"], row["cost"]) == ("'=1+1", "unknown", "unpriced")


# --- one run
def test_a_queued_run_says_whether_anybody_is_there_to_take_it(client: Client, run: Run) -> None:
    assert "No worker is alive." in text(client, f"/runs/{run.pk}/")


def test_a_running_run_names_the_step_it_is_at_and_who_drives_it(client: Client, run: Run) -> None:
    factories.step(run, state="intended", name="carrier.book", started_at=timezone.now())
    until = timezone.now() + timedelta(seconds=10)
    Run.objects.update(state="running", lease_until=until, lease_holder="attic:7", started_at=timezone.now())
    page = text(client, f"/runs/{run.pk}/")
    assert "At work on step 1, carrier.book, since" in page
    assert "driven by attic:7" in page
    Run.objects.update(lease_until=timezone.now() - timedelta(seconds=3))
    page = text(client, f"/runs/{run.pk}/")
    assert "Its worker fell silent" in page
    assert "At work" not in page


def test_a_paused_run_says_who_when_why_and_what_goes_on(client: Client, run: Run, olga: User) -> None:
    factories.step(run, state="held", name="payments.refund", says="Refund €20", writes=True)
    Run.objects.update(state="waiting", waiting_for="approval")
    run.refresh_from_db()
    assert "Waiting for approval" in text(client, f"/runs/{run.pk}/")
    interventions.pause(run, by=olga, reason="billing looks at it", request_id=uuid4())
    page = text(client, f"/runs/{run.pk}/")
    assert "Paused by olga</b>" in page
    assert "“billing looks at it”" in page
    assert "1 question to people stays open" in page
    assert f'action="/runs/{run.pk}/resumption/"' in page


@pytest.mark.parametrize("waits", ["retry", "capacity", "decision"])
def test_a_paused_run_looks_for_nothing(client: Client, run: Run, olga: User, waits: str) -> None:
    word = Run.Waits(waits).label
    soon = timezone.now() + timedelta(seconds=9)
    Run.objects.filter(pk=run.pk).update(state="waiting", waits=waits, waiting_for=word, wake_at=soon)
    run.refresh_from_db()
    interventions.pause(run, by=olga, reason="look first", request_id=uuid4())
    page = text(client, f"/runs/{run.pk}/")
    assert "Paused by olga" in page
    assert "Waiting for" not in page
    assert f"for {word}" not in text(client, "/runs/")


def test_a_failed_run_says_why_and_offers_another_like_it(client: Client, run: Run) -> None:
    ended(run, "failed", failure_class="limit:steps", failure="20 steps were taken.")
    page = text(client, f"/runs/{run.pk}/")
    assert "<code>limit:steps</code> 20 steps were taken." in page
    assert f"/runs/new/?like={run.pk}" in page
    assert "/pause/" not in page  # nothing more will happen to it
    assert "/cancellation/" not in page


def test_a_completed_run_shows_what_came_of_it(client: Client, run: Run) -> None:
    ended(run, "completed", result="Ticket 882 is answered.")
    assert "after 6.0 s. Ticket 882 is answered." in text(client, f"/runs/{run.pk}/").replace("\u00a0", " ")
    ended(run, "completed", result={"booking": "BW4711"})
    assert "&quot;booking&quot;: &quot;BW4711&quot;" in text(client, f"/runs/{run.pk}/")


def test_a_frozen_agent_shows_on_its_runs(client: Client, run: Run, olga: User) -> None:
    interventions.freeze(run.agent, by=olga, reason="too many refunds", request_id=uuid4())
    page = text(client, f"/runs/{run.pk}/")
    assert "<b>desk is frozen</b> by olga" in page
    assert "“too many refunds”" in page


def test_who_may_not_steer_is_told_why_the_buttons_are_off(run: Run, rhea: User) -> None:
    page = text(signed_in(rhea), f"/runs/{run.pk}/")
    assert page.count('disabled title="Steering takes the role operator in Service."') == 2
    assert "/pause/" not in page
    assert "/runs/new/" not in page  # nor may she start another one


@pytest.mark.parametrize("view", ["story", "tree", "timeline", "messages", "nonsense"])
def test_a_step_can_be_looked_at_in_every_way_of_reading(client: Client, run: Run, view: str) -> None:
    step = factories.step(run, name="orders.read", error="no such order", error_class="not_found", state="failed")
    StepPayload.objects.create(run=run, seq=step.seq, input={"malformed": '{"order": 47'}, output=None)
    factories.step(run, kind="model", name="sim-small", model="sim-small", cost_kind="unpriced")
    page = text(client, f"/runs/{run.pk}/?view={view}&step=1")
    assert "Malformed arguments" in page
    assert "{&quot;order&quot;: 47" in page
    assert "not_found" in page
    page = text(client, f"/runs/{run.pk}/?view={view}&step=2")
    assert "no price is known for this model" in page
    assert "<dt>Tokens</dt><dd>unknown</dd>" in page


def test_a_step_names_each_model_that_did_not_answer_with_why_and_what_it_may_cost(client: Client, run: Run) -> None:
    step = factories.step(run, kind="model", name="large", model="small", provider="beta", cost_kind="unpriced")
    lost = {"provider": "acme", "model": "large", "seconds": 2.0, "kind": "timeout", "error": "large said nothing"}
    before = [{**lost, "cost": "0.0120", "cost_kind": "estimated"}, {**lost, "model": "medium", "error": "gone"}]
    away = "The breaker of acme/large is open."
    output = {"message": {"parts": []}, "attempts": before, "degraded": away}
    StepPayload.objects.create(run=run, seq=step.seq, output=output)
    words = " ".join(re.sub("<[^>]+>", " ", text(client, f"/runs/{run.pk}/")).split())
    assert "Asked before large acme large said nothing timeout 2.0 s, $0.012 estimated" in words
    assert "medium acme gone timeout 2.0 s, not billed" in words
    assert f"Degraded {away}" in words


def test_an_act_in_doubt_is_not_at_work(client: Client, run: Run) -> None:
    factories.step(run, state="in_doubt", writes=True, started_at=timezone.now() - timedelta(seconds=50))
    page = text(client, f"/runs/{run.pk}/")
    assert "nobody knows; it began" in page
    assert "at it since" not in page


@pytest.mark.parametrize("odd", ["step=99", "step=x", "step=-1", "from=99999999", "open=,x,3", "step=" + "9" * 40])
def test_odd_addresses_show_what_there_is(client: Client, run: Run, odd: str) -> None:
    factories.step(run)
    text(client, f"/runs/{run.pk}/?{odd}")


def test_a_result_of_a_megabyte_is_cut_and_says_so(client: Client, run: Run) -> None:
    step = factories.step(run)
    StepPayload.objects.create(run=run, seq=step.seq, input={"arguments": {}}, output="x" * 1_000_000)
    page = text(client, f"/runs/{run.pk}/")
    assert "980,000 characters more" in page
    assert len(page) < 100_000


LONG = """
INSERT INTO agents_step (run_id, seq, turn, agent_id, kind, name, state, created_at, started_at, finished_at)
SELECT %(run)s, n, n, %(agent)s, CASE WHEN n %% 2 = 0 THEN 'tool' ELSE 'model' END, 'tool-' || n %% 7, 'done',
    now() + n * interval '1 second', now() + n * interval '1 second', now() + n * interval '1.4 seconds'
FROM generate_series(1, 10000) n;
INSERT INTO agents_steppayload (run_id, seq, input, output)
SELECT %(run)s, n, '{"arguments": {"order": 4711, "words": "which descaler is safe"}}',
    '{"message": {"role": "assistant", "parts": [{"type": "text", "content": "Let me look that up for you."}]}}'
FROM generate_series(1, 10000) n
"""


@pytest.mark.parametrize("view", ["story", "tree", "timeline", "messages"])
def test_a_run_of_ten_thousand_steps_opens_as_fast_as_one_of_ten(client: Client, run: Run, view: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(LONG, {"run": run.pk, "agent": run.agent_id})
    Run.objects.update(steps_done=10_000)
    text(client, f"/runs/{run.pk}/?view={view}")
    started = time.process_time()
    page = text(client, f"/runs/{run.pk}/?view={view}")
    assert time.process_time() - started < 1.0
    assert "Steps 9,801 to 10,000" in page
    assert len(page) < 100_000, len(page)
    assert "Steps 1 to 200" in text(client, f"/runs/{run.pk}/?view={view}&from=1")


@pytest.mark.parametrize("part", ["controls", "standing", "story", "step", "reading"])
def test_a_fragment_is_the_element_it_replaces(client: Client, run: Run, part: str) -> None:
    answer = client.get(f"/runs/{run.pk}/?view=tree", headers={"HX-Request": "true", "HX-Target": part})
    assert f'id="{part}"' in answer.content.decode().lstrip()[:60]


def test_controls_answer_with_themselves_and_say_what_came_of_it(client: Client, run: Run) -> None:
    posted = client.post(
        f"/runs/{run.pk}/pause/", {"reason": "lunch"}, headers={"HX-Request": "true", "HX-Target": "controls"}
    )
    assert posted.content.decode().lstrip().startswith('<div id="controls"')
    assert json.loads(posted["HX-Trigger"])["toast"]["text"] == "This run is paused."
    assert client.post(f"/runs/{run.pk}/resumption/").status_code == 302  # without script


def test_a_stranger_finds_no_run_and_steers_none(run: Run, stranger: User) -> None:
    browser = signed_in(stranger)
    assert browser.get(f"/runs/{run.pk}/").status_code == 404
    for act in ("pause", "resumption", "cancellation"):
        assert browser.post(f"/runs/{run.pk}/{act}/", {"reason": "mine"}).status_code == 404
    assert Run.objects.get().state == "queued"
