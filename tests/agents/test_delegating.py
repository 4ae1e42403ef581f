"""Runs that delegate: each child starts once, nothing is held meanwhile, results and cost go up, cancels go down."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from threading import Thread
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.db.models import Sum
from django.utils import timezone

from agents import errors
from agents.contracts import Assignment, Delegate, Event, Finish, Turn
from agents.models import Agent, AuditEntry, Role, Run
from agents.people import accounts
from agents.registry import publishing
from agents.runs import delegating, interventions, lease, recovery, runner, withdrawing
from approvals.decisions import decide
from approvals.models import Approval
from finops.models import LedgerEntry
from tests import factories, toolbox
from tests.agents.dying import KilledError, dying, run_out

pytestmark = pytest.mark.django_db(transaction=True)


assert toolbox.effects is not None  # its tools are declared


class Boss:
    """The program: it has everything in `input.asks` done at once, and ends with what came of it."""

    def next(self, assignment: Assignment, history: Sequence[Event]) -> Turn:
        if history:
            return [Finish(result=[event.output if event.output else event.error for event in history])]
        return [Delegate(**ask) for ask in assignment.input["asks"]]


def employ(team: Any, slug: str, *delegates: str, **bundle: Any) -> Agent:
    """An agent that delegates, or, without anybody to delegate to, does something itself."""
    agent: Agent = Agent.objects.filter(slug=slug).first() or factories.agent(slug, of=team)
    if delegates:
        how = {"program": f"{__name__}:Boss", "models": [], "limits": {}, "delegates": list(delegates), **bundle}
    else:
        stages = [{"tool": "test.echo", "arguments": {"text": "{objective}"}}]
        how = {"program": "pipeline", "models": [], "limits": {}, "tools": ["test.echo", "test.letter"], **bundle}
        how.setdefault("pipeline", stages)
    agent.release = factories.release(agent, **how)
    agent.save(update_fields=["release"])
    return agent


LETTER = {"pipeline": [{"tool": "test.letter", "arguments": {"text": "Dear café"}}]}


def ask(agent: str, objective: str = "Do it.", **more: Any) -> dict[str, Any]:
    return {"agent": agent, "objective": objective, **more}


def start(agent: Agent, by: Any, *asks: dict[str, Any], **how: Any) -> Run:
    return factories.run(agent, by=by, input={"asks": list(asks)}, **how)


def drive(run: Run) -> Run:
    runner.drive(run.pk)
    run.refresh_from_db()
    return run


def drive_all() -> None:
    """Workers take whatever is queued, until nothing is."""
    while queued := list(Run.objects.filter(state="queued").order_by("-depth", "pk")):
        for run in queued:
            drive(run)


def test_a_run_waits_for_the_one_it_delegated_to_and_goes_on_with_its_result(team, olga):
    employ(team, "clerk")
    run = drive(start(employ(team, "boss", "clerk"), olga, ask("clerk", "Say hello.")))
    assert (run.state, run.waits, run.waiting_for, run.lease_until) == (
        "waiting",
        "delegation",
        "1 delegated run",
        None,
    )
    child = run.children.get()
    assert (child.parent_seq, child.depth, child.started_by, child.objective) == (1, 1, olga, "Say hello.")
    assert run.steps.get().kind == "delegate"
    assert drive(child).state == "completed"
    run = drive(run)
    assert run.state == "completed"
    told = {"run": str(child.pk), "state": "completed", "result": {"text": "Say hello."}, "failure": "", "cost": "0E-8"}
    assert [{**run.result[0], "cost": "0E-8"}] == [told]
    assert Decimal(run.result[0]["cost"]) == 0


def test_twenty_at_once_wake_their_parent_once_when_the_last_has_ended(team, olga):
    employ(team, "clerk")
    run = drive(start(employ(team, "boss", "clerk"), olga, *[ask("clerk", f"Job {number}.") for number in range(20)]))
    assert run.waiting_for == "20 delegated runs"
    *children, last = run.children.order_by("pk")
    for child in children:
        drive(child)
        run.refresh_from_db()
        assert run.state == "waiting"
    drive(last)
    assert drive(run).state == "completed"
    assert [one["result"]["text"] for one in run.result] == [f"Job {number}." for number in range(20)]


def test_twenty_that_end_at_the_same_moment_wake_it_too(team, olga):
    employ(team, "clerk")
    run = drive(start(employ(team, "boss", "clerk"), olga, *[ask("clerk") for _ in range(20)]))
    threads = [Thread(target=runner.drive, args=(child.pk,)) for child in run.children.all()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert drive(run).state == "completed"
    assert {one["state"] for one in run.result} == {"completed"}


def three_levels(team: Any, olga: Any, **bundle: Any) -> list[Run]:
    """A run, the one it delegated to, and the one that one delegated to, each waiting."""
    employ(team, "clerk", **bundle)
    employ(team, "chief", "clerk")
    start(employ(team, "boss", "chief"), olga, ask("chief", input={"asks": [ask("clerk")]}))
    drive_all()
    return list(Run.objects.order_by("depth"))


def test_three_levels_end_from_below(team, olga):
    boss, chief, clerk = three_levels(team, olga)
    assert (clerk.depth, clerk.state, boss.state) == (2, "completed", "completed")
    assert boss.result[0]["result"][0]["run"] == str(clerk.pk)
    assert chief.parent_id == boss.pk


@pytest.mark.parametrize(("level", "states"), [(0, ["cancelled"] * 3), (1, ["completed", "cancelled", "cancelled"])])
def test_a_cancel_goes_down_and_comes_back_up_as_data(team, olga, level, states):
    runs = three_levels(team, olga, **LETTER)
    assert [run.state for run in runs] == ["waiting"] * 3
    interventions.cancel(runs[level], by=olga, reason="enough", request_id=uuid4())
    drive_all()
    for run in runs:
        run.refresh_from_db()
    assert [run.state for run in runs] == states
    if level:
        assert (runs[0].result[0]["state"], runs[0].result[0]["failure"]) == ("cancelled", "The run was cancelled.")
        assert runs[0].steps.get().state == "failed"
    entry = AuditEntry.objects.get(verb="run.cancel", subject_id=str(runs[2].pk))
    assert (entry.by, entry.reason) == (None, withdrawing.WHY)
    assert not Approval.objects.filter(state="open").exists()


def test_a_cancelled_child_is_a_failed_step_and_its_parent_goes_on(team, olga):
    _, _, clerk = three_levels(team, olga, **LETTER)
    interventions.cancel(clerk, by=olga, reason="no", request_id=uuid4())
    drive_all()
    assert list(Run.objects.order_by("depth").values_list("state", flat=True)) == [
        "completed",
        "completed",
        "cancelled",
    ]


def test_what_the_message_missed_the_tick_withdraws(team, olga, monkeypatch):
    boss, chief, clerk = three_levels(team, olga, **LETTER)
    monkeypatch.setattr(withdrawing, "withdraw_children", lambda run_id: 0)
    Run.objects.filter(pk=boss.pk).update(state="cancelled", finished_at=timezone.now())
    assert withdrawing.withdraw_orphans() == 1
    chief.refresh_from_db()
    assert chief.state == "cancelled"
    while withdrawing.withdraw_orphans():
        pass
    clerk.refresh_from_db()
    assert clerk.state == "cancelled"


def test_a_driven_child_is_asked_and_a_deadline_travels_down(team, olga):
    employ(team, "clerk", **LETTER)
    at = timezone.now() + timedelta(hours=1)
    boss = employ(team, "boss", "clerk")
    run = drive(start(boss, olga, ask("clerk", deadline_s=60), ask("clerk", deadline_s=9e6), deadline_at=at))
    first, second = run.children.order_by("parent_seq")
    assert first.deadline_at < at
    assert second.deadline_at == at
    assert lease.take(first.pk)
    interventions.cancel(run, by=olga, reason="enough", request_id=uuid4())
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.state, first.asked, second.state) == ("running", "cancel", "cancelled")


def test_a_parent_past_its_deadline_takes_its_children_with_it(team, olga):
    boss, _, clerk = three_levels(team, olga, **LETTER)
    Run.objects.filter(pk=boss.pk).update(deadline_at=timezone.now() - timedelta(seconds=1))
    assert interventions.overdue() == 1
    clerk.refresh_from_db()
    assert clerk.state == "cancelled"


def test_a_child_past_its_deadline_tells_its_parent(team, olga):
    boss, _, clerk = three_levels(team, olga, **LETTER)
    Run.objects.filter(pk=clerk.pk).update(deadline_at=timezone.now() - timedelta(seconds=1))
    assert interventions.overdue() == 1
    drive_all()
    boss.refresh_from_db()
    assert boss.result[0]["result"][0]["state"] == "failed"


def test_what_children_cost_is_added_all_the_way_up_as_the_ledger_says(team, olga):
    models = [{"provider": "simulated", "model": "sim-small"}]
    fast = {"simulated": {"latency_ms": [1, 2]}}
    employ(team, "clerk", program="llm", models=models, tools=[], **fast)
    employ(team, "chief", "clerk")
    employ(team, "boss", "chief", "clerk")
    inner = {"asks": [ask("clerk", "Look at ticket 1."), ask("clerk", "Look at ticket 2.")]}
    run = start(Agent.objects.get(slug="boss"), olga, ask("chief", input=inner), ask("clerk", "Look at ticket 3."))
    drive_all()
    run.refresh_from_db()
    chief = run.children.get(agent__slug="chief")
    assert run.state == "completed"
    booked = LedgerEntry.objects.filter(run_id__in=Run.objects.values("pk")).aggregate(all=Sum("amount"))["all"]
    assert run.cost_below == booked > 0
    assert chief.cost_below == sum(child.cost for child in chief.children.all())
    assert Decimal(run.result[0]["cost"]) == chief.cost_below


def test_a_limit_counts_what_was_delegated(team, olga):
    employ(team, "clerk")
    run = drive(start(employ(team, "boss", "clerk", limits={"cost_usd": "0.50"}), olga, ask("clerk")))
    Run.objects.filter(parent=run).update(cost=Decimal("0.60"))
    drive_all()
    run.refresh_from_db()
    assert (run.state, run.failure_class, run.cost_below) == ("failed", "limit:cost", Decimal("0.60"))
    assert "$0.60" in run.failure


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (ask("stranger"), "stranger is not among the delegates"),
        (ask("ghost"), "There is no agent called 'ghost'"),
        (ask("clerk", " "), "delegate.clerk: `objective`"),
    ],
)
def test_what_may_not_be_delegated_is_a_refusal_that_the_program_sees(team, olga, one, words):
    employ(team, "clerk")
    run = drive(start(employ(team, "boss", "clerk", "ghost"), olga, one))
    assert (run.state, Run.objects.count()) == ("completed", 1)
    assert words in run.result[0]


def test_nobody_delegates_to_whom_they_may_not_start(team, olga, stranger):
    other = factories.team("secret")
    employ(other, "spy")
    boss = employ(team, "boss", "spy")
    operator = factories.person("local", Role.OPERATOR, of=team)
    run = drive(start(boss, operator, ask("spy")))
    assert "You may not start runs of" in run.result[0]
    assert "belongs to another team" in drive(start(boss, None, ask("spy"))).result[0]


def test_delegating_ends_five_levels_down(team, olga):
    employ(team, "boss", "boss")
    deep: dict[str, Any] = {"asks": []}
    for _ in range(7):
        deep = {"asks": [ask("boss", input=deep)]}
    factories.run(Agent.objects.get(slug="boss"), by=olga, input=deep)
    drive_all()
    assert Run.objects.count() == delegating.DEEPEST + 1
    assert set(Run.objects.values_list("state", flat=True)) == {"completed"}
    deepest = Run.objects.get(depth=delegating.DEEPEST)
    assert "at most 5 levels deep" in deepest.result[0]


def test_nothing_gets_out_of_a_sandbox_and_a_frozen_child_is_waited_for(team, olga):
    clerk = employ(team, "clerk")
    run = start(employ(team, "boss", "clerk"), olga, ask("clerk"))
    Run.objects.filter(pk=run.pk).update(environment="sandbox")
    drive(run)
    assert run.children.get().environment == "sandbox"
    interventions.freeze(clerk, by=olga, reason="look", request_id=uuid4())
    assert (drive(run.children.get()).state, drive(run).state) == ("queued", "waiting")


def test_a_release_may_have_a_person_approve_each_delegation(team, olga, rhea):
    employ(team, "clerk")
    run = drive(start(employ(team, "boss", "clerk", tiers={"delegate.clerk": 3}), olga, ask("clerk")))
    assert (run.state, run.waiting_for, run.children.count()) == ("waiting", "approval", 0)
    decide(Approval.objects.get(run=run), answer="approve", reason="", by=rhea, request_id=uuid4())
    drive_all()
    run.refresh_from_db()
    assert (run.state, run.result[0]["state"]) == ("completed", "completed")


def test_a_child_ends_once_whoever_is_faster(team, olga):
    employ(team, "clerk")
    run = drive(start(employ(team, "boss", "clerk"), olga, ask("clerk")))
    child = run.children.get()
    stale = lease.take(child.pk)
    interventions.withdraw(child.pk, reason="x")
    Run.objects.filter(pk=child.pk).update(lease_until="2020-01-01T00:00:00Z", asked="")
    drive(child)
    with pytest.raises(errors.Fenced):
        runner.ending.end(stale, "failed")
    run.refresh_from_db()
    assert (run.state, run.cost_below) == ("queued", 0)
    assert drive(run).result[0]["state"] == "completed"


def test_a_driver_killed_between_any_two_statements_starts_each_child_once(team, olga):
    employ(team, "clerk")
    boss, nth, struck = employ(team, "boss", "clerk"), 0, True
    while struck:
        nth += 1
        Run.objects.all().delete()
        run = start(boss, olga, ask("clerk", "a"), ask("clerk", "b"))
        with dying(nth) as fate, suppress(KilledError):
            drive_all()
        struck = fate.struck
        connection.close()
        for _ in range(4):
            for live in Run.objects.live():
                run_out(live)
            recovery.sweep(patience=0)
            for live in Run.objects.live().order_by("-depth"):
                drive(live)
        run.refresh_from_db()
        assert run.state == "completed", nth
        assert [one["result"]["text"] for one in run.result] == ["a", "b"], nth
        assert run.children.count() == 2
    assert nth > 30


def test_an_agent_that_is_not_there_cannot_be_named_in_a_release(bundle, governor):
    with pytest.raises(errors.Invalid, match=r"delegates: there is no agent clerkk\. Publish it first\."):
        publishing.publish({**bundle, "delegates": ["clerkk"]}, by=governor)
    employ(factories.team(), "clerk")
    release = publishing.publish({**bundle, "delegates": ["clerk"]}, by=governor)
    assert release.bundle["tool_schemas"]["delegate.clerk"]["schema"]["required"] == ["objective"]


def test_pages_and_api_show_who_delegated_what(team, olga, client):
    employ(team, "clerk")
    run = drive(start(employ(team, "boss", "clerk"), olga, ask("clerk", "Say hello.")))
    client.force_login(olga)
    page = client.get(f"/runs/{run.pk}/").content.decode()
    child = run.children.get()
    assert "Waiting for 1 delegated run" in page
    assert "Delegated and waits for it: " in page
    assert f"/runs/{child.pk}/" in page
    assert f"/runs/{child.pk}/" in client.get(f"/runs/{run.pk}/?view=tree&step=1").content.decode()
    assert "delegated by" in client.get(f"/runs/{child.pk}/").content.decode()
    drive_all()
    assert "Delegated, and it was done: " in client.get(f"/runs/{run.pk}/").content.decode()


def test_the_api_lists_what_a_run_delegated(team, olga, client):
    employ(team, "clerk")
    run = drive(start(employ(team, "boss", "clerk"), olga, ask("clerk"), ask("clerk")))
    _, token = accounts.create_token("reader", role=Role.OPERATOR, owner=olga, by=None)
    headers = {"Authorization": f"Bearer {token}"}
    found = client.get(f"/api/v1/runs?parent={run.pk}", headers=headers).json()["items"]
    assert [(one["parent"], one["parent_seq"]) for one in found] == [(str(run.pk), 2), (str(run.pk), 1)]
    drive_all()
    step, _ = client.get(f"/api/v1/runs/{run.pk}/steps", headers=headers).json()["items"]
    assert (step["kind"], step["answer"], step["output"]["state"]) == ("delegate", None, "completed")
