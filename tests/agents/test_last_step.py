"""The last step of a run and its end are one commit, unless somebody wants something else by then."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from agents.models import Agent, Release, Run
from agents.runs import interventions, lease, runner, starting, steps
from agents.tools.catalogue import tool

pytestmark = pytest.mark.django_db(transaction=True)


class Elsewhere:
    """What somebody else does each time the tool is at work."""

    act: Callable[[], object] = staticmethod(lambda: None)


@tool("test.meanwhile", tier=1, timeout=None)
def work(text: str) -> dict[str, Any]:
    """Take as long as somebody else needs."""
    Elsewhere.act()
    return {"text": text}


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Let somebody do something while the tool is at work."""
    return lambda act: monkeypatch.setattr(Elsewhere, "act", staticmethod(act))


@pytest.fixture
def run(team: Any, olga: Any) -> Run:
    agent = Agent.objects.create(slug="clerk", name="Clerk", team=team)
    stage = {"tool": "test.meanwhile", "arguments": {"text": "done"}}
    bundle = {"program": "pipeline", "tools": ["test.meanwhile"], "pipeline": [stage, stage]}
    release = Release.objects.create(agent=agent, version="1", digest=uuid4().hex, program="pipeline", bundle=bundle)
    return starting.start(agent, objective="Do the work.", by=olga, release=release)


def drive(run: Run) -> Run:
    runner.drive(run.pk)
    run.refresh_from_db()
    return run


def test_the_last_step_and_the_end_are_one_transaction(run):
    drive(run)
    first, last = run.steps.order_by("seq")
    assert (run.state, run.result, run.steps_done, run.lease_until) == ("completed", {"text": "done"}, 2, None)
    assert first.xid < last.xid == int(run.xid)


@pytest.mark.parametrize(("verb", "state"), [("pause", "paused"), ("cancel", "cancelled")])
def test_what_people_ask_in_the_last_step_comes_before_the_end(run, olga, hook, verb, state):
    def ask() -> None:
        fresh = Run.objects.get(pk=run.pk)
        if fresh.steps.count() == 1 and not fresh.asked:
            getattr(interventions, verb)(fresh, by=olga, reason="wait", request_id=uuid4())

    hook(ask)
    drive(run)
    assert (run.state, run.steps_done) == (state, 2)
    assert run.result is None


def test_an_agent_frozen_in_the_last_step_lets_go_and_ends_when_it_is_thawed(run, olga, hook):
    hook(lambda: run.steps.count() == 1 and interventions.freeze(run.agent, by=olga, reason="look", request_id=uuid4()))
    drive(run)
    assert (run.state, run.steps_done, run.lease_until) == ("running", 2, None)
    interventions.thaw(run.agent, by=olga, reason="seen", request_id=uuid4())
    assert drive(run).state == "completed"


def test_a_driver_that_is_fenced_in_the_last_step_neither_stores_it_nor_ends_the_run(run, hook):
    def take_over() -> None:
        if run.steps.count() == 1:
            Run.objects.filter(pk=run.pk).update(lease_until=steps.now())
            assert lease.take(run.pk) is not None

    hook(take_over)
    drive(run)
    assert (run.state, run.steps.count()) == ("running", 1)
