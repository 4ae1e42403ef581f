"""Parameters changed for a time: of one run or of an agent, checked as a release is, in force from the next step on,
on every step that they were in force for, and back by themselves."""

import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone
from uuid_utils.compat import uuid7

from agents import errors
from agents.contracts import Assignment, Event, Finish, Turn, UseTool
from agents.models import Agent, AuditEntry, Override, Release, Run, Team, User
from agents.runs import hotpath, interventions, overriding, runner, starting, tuning
from approvals.decisions import decide
from approvals.models import Approval
from tests import factories, toolbox

pytestmark = pytest.mark.django_db(transaction=True)

TOOLS = ["test.echo", "test.slow", "test.refund", "test.note"]
Start = Callable[..., Run]


@pytest.fixture
def pipeline(team: Team, olga: User) -> Start:
    """Queue a run of a scripted pipeline that echoes so many times."""

    def start(echoes: int = 3, *stages: dict[str, Any], **bundle: Any) -> Run:
        agent, _ = Agent.objects.get_or_create(slug="clerk", defaults={"name": "Clerk", "team": team})
        listed = [*stages, *({"tool": "test.echo", "arguments": {"text": str(n)}} for n in range(echoes))]
        content = {"program": "pipeline", "tools": TOOLS, "pipeline": listed, "limits": {"steps": 20}, **bundle}
        version = uuid4().hex[:8]
        release = Release.objects.create(
            agent=agent, version=version, digest=version, program="pipeline", bundle=content
        )
        Agent.objects.filter(pk=agent.pk).update(release=release)
        agent.refresh_from_db()
        return starting.start(agent, objective="Do the work.", by=olga, release=release)

    toolbox.effects.clear()
    return start


def drive(run: Run) -> Run:
    runner.drive(run.pk)
    run.refresh_from_db()
    return run


def change(
    subject: Run | Agent, parameter: str, value: Any, *, by: User, lasts: float | None = 3600, **more: Any
) -> Override:
    """Override it, in so many seconds back by itself."""
    expires_at = None if lasts is None else timezone.now() + timedelta(seconds=lasts)
    given = {"reason": "the carrier is slow", "request_id": uuid7(), "expires_at": expires_at, **more}
    return overriding.override(subject, parameter=parameter, value=value, by=by, **given)


class Together:
    """A program that asks for two things at once."""

    def next(self, assignment: Assignment, history: Sequence[Event]) -> Turn:
        """Look and note, then the end."""
        if history:
            return [Finish(result="both")]
        return [UseTool("test.slow", {"seconds": 0.8}), UseTool("test.note", {"text": "it is there"})]


def drive_while(run: Run, act: Callable[[], object]) -> None:
    """Drive it elsewhere, and act while its first step is under way."""
    driving = threading.Thread(target=runner.drive, args=[run.pk])
    driving.start()
    while run.state != "running":
        run.refresh_from_db()
    time.sleep(0.3)
    act()
    driving.join()
    run.refresh_from_db()


def test_a_limit_holds_for_the_next_drive_and_the_run_says_whose_it_was(pipeline: Start, olga: User) -> None:
    run = pipeline(3)
    made = change(run, "limits.steps", "2", by=olga)
    assert (made.before, made.value, overriding.change(made)) == (20, 2, "limits.steps: 20 → 2")
    drive(run)
    assert (run.state, run.failure_class, run.failure) == ("failed", "limit:steps", "An override allows 2 steps.")
    kept = run.steps.get(seq=2).in_force
    assert kept["overrides"] == [{"id": str(made.pk), "parameter": "limits.steps", "value": 2}]
    entry = AuditEntry.objects.get(verb="override.made")
    assert (entry.by, entry.reason, entry.detail["change"]) == (olga, "the carrier is slow", "limits.steps: 20 → 2")


def test_a_run_that_is_being_driven_takes_it_up_at_its_next_step(pipeline: Start, olga: User) -> None:
    run = pipeline(4, {"tool": "test.slow", "arguments": {"seconds": 0.6}})
    drive_while(run, lambda: change(run, "limits.steps", 3, by=olga))
    assert (run.state, run.steps_done, run.failure) == ("failed", 3, "An override allows 3 steps.")
    assert run.steps.get(seq=1).in_force is None  # what was in flight is not touched
    assert run.steps.get(seq=2).in_force["overrides"][0]["value"] == 3


def test_a_stricter_tier_asks_a_person_and_the_answer_outlives_the_override(
    pipeline: Start, olga: User, rhea: User
) -> None:
    run = pipeline(0, {"tool": "test.note", "arguments": {"text": "hello"}})
    made = change(run, "tiers.test.note", "3", by=olga)
    assert drive(run).state == "waiting"
    assert run.steps.get(seq=1).tier == 3
    overriding.revert(made.run, parameter=made.parameter, by=olga, request_id=uuid7())
    approval = Approval.objects.get(run=run)
    decide(approval, by=rhea, answer="approve", reason="it is fine", request_id=uuid7())
    assert drive(run).state == "completed"
    assert run.steps.get(seq=1).state == "done"


def test_the_rest_of_a_turn_is_judged_anew(team: Team, olga: User) -> None:
    """A look and a write asked for together: while the look takes its time, the write becomes manual."""
    toolbox.effects.clear()
    agent = factories.agent("pair", of=team)
    release = factories.release(agent, program=f"{__name__}:Together", tools=["test.slow", "test.note"])
    run = starting.start(agent, objective="Look and note.", by=olga, release=release)
    drive_while(run, lambda: change(run, "tiers.test.note", 4, by=olga))
    assert (run.state, toolbox.effects) == ("waiting", [])
    assert [(step.turn, step.state, step.tier) for step in run.steps.order_by("seq")] == [
        (1, "done", 1),
        (1, "held", 4),
    ]


def test_it_goes_back_by_itself_while_the_run_is_driven(pipeline: Start, olga: User) -> None:
    run = pipeline(2, {"tool": "test.slow", "arguments": {"seconds": 0.8}})
    change(run, "limits.steps", 2, by=olga, lasts=0.5)
    assert drive(run).state == "completed"
    assert run.steps.get(seq=2).in_force is None
    assert overriding.expire() == 1
    entry = AuditEntry.objects.get(verb="override.reverted")
    assert (entry.by, entry.reason) == (None, "Its time was up: reverted by itself.")
    assert overriding.expire() == 0


def test_for_an_agent_it_holds_for_every_run_and_a_runs_own_goes_first(pipeline: Start, olga: User) -> None:
    first, second = pipeline(3), pipeline(3)
    agent = Agent.objects.get(slug="clerk")
    change(agent, "limits.steps", 1, by=olga)
    change(second, "limits.steps", 5, by=olga)
    assert (drive(first).failure, drive(second).state) == ("An override allows 1 steps.", "completed")
    assert [one.parameter for one in overriding.in_force(second)] == ["limits.steps", "limits.steps"]


def test_a_model_of_the_chain_goes_to_its_front_and_another_takes_the_first_place(team: Team, olga: User) -> None:
    chain = [{"provider": "simulated", "model": "sim-small"}, {"provider": "simulated", "model": "sim-large"}]
    agent = factories.agent("talker", of=team)
    factories.agent("other", of=team)
    run = starting.start(agent, objective="Talk.", by=olga, release=factories.release(agent, models=chain))
    change(run, "models", "simulated/sim-large", by=olga)
    drive(run)
    step = run.steps.get(seq=1)
    assert (run.state, step.model) == ("completed", "sim-large (simulated)")
    with pytest.raises(errors.Invalid, match="one that a release of this team names: simulated/sim-small"):
        change(factories.run(agent, by=olga), "models", "openai/other", by=olga)


def test_a_simulated_model_never_takes_the_place_of_a_real_one(team: Team, olga: User) -> None:
    factories.agent("play", of=team)
    agent = factories.agent("earnest", of=team)
    agent.release = factories.release(agent, models=[{"provider": "openai", "model": "large-one"}])
    assert [link["model"] for link in overriding.models(agent)] == ["large-one"]


def test_a_variable_of_the_prompt_is_told_to_the_model(team: Team, olga: User) -> None:
    agent = factories.agent("voice", of=team)
    content = {"prompts": {"system": "Answer in a {{ tone }} tone."}, "variables": {"tone": "friendly"}}
    run = starting.start(agent, objective="Talk.", by=olga, release=factories.release(agent, **content))
    change(run, "variables.tone", "formal", by=olga)
    drive(run)
    told = run.payloads.get(seq=1).input["messages"][0]["parts"][0]["content"]
    assert told == "Answer in a formal tone."


def test_a_threshold_shows_uncertain_writes_to_a_person(pipeline: Start, olga: User) -> None:
    run = pipeline(1, {"tool": "test.note", "arguments": {"text": "hello"}})
    change(run, "thresholds.confidence", 0.7, by=olga)
    assert drive(run).state == "waiting"
    step = run.steps.get(seq=1)
    assert (step.gate, "not known" in step.gate_reason) == ("confidence", True)


def test_whoever_makes_an_agent_careful_makes_its_tools_with_a_threshold_of_their_own_careful(
    pipeline: Start, olga: User, governor: User
) -> None:
    note = {"tool": "test.note", "arguments": {"text": "hello"}}
    own = {"test.note": 0.0, "confidence": 0.5}
    assert drive(pipeline(1, note, thresholds=own)).steps.get(seq=1).gate == "confidence", "unknown is below zero"
    run = pipeline(1, note, thresholds=own)
    change(run, "thresholds.confidence", 0.6, by=olga)
    change(run.agent, "thresholds.confidence", 0.9, by=olga)
    assert drive(run).state == "waiting"
    step = run.steps.get(seq=1)
    assert step.gate_reason.endswith(
        "below 0.9 a person looks before test.note happens, by the threshold of all tools, raised for a time and "
        "stricter than the tool's own, 0."
    )
    assert [one["value"] for one in step.in_force["overrides"]] == [0.9], "of the agent's and the run's the stricter"


@pytest.mark.parametrize(
    ("parameter", "value", "sentence"),
    [
        ("limits.steps", "many", "[limits] steps is 'many'"),
        ("limits.steps", 0, "[limits] steps is 0; it should be greater than 0"),
        ("limits.cost_usd", "-1", "greater than 0"),
        ("limits.wall_s", "inf", "number"),
        ("limits.stesp", 3, "Did you mean limits.steps?"),
        ("tiers.test.note", 1, "it can only be made stricter for a time"),
        ("tiers.test.refund", "five", "it can only be made stricter"),
        ("thresholds.confidence", 1.5, "less than or equal to 1"),
        ("prompts.system", "x", "is no parameter that can be changed here"),
        ("limits.steps", 20, "is 20 already"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_in_a_sentence(
    pipeline: Start, olga: User, parameter: str, value: Any, sentence: str
) -> None:
    run = pipeline(1)
    with pytest.raises((errors.Invalid, errors.Conflict)) as refused:
        change(run, parameter, value, by=olga)
    assert sentence in refused.value.message
    assert not Override.objects.exists()


def test_twice_with_one_request_id_is_one_act(pipeline: Start, olga: User) -> None:
    run, request_id = pipeline(1), uuid7()
    first = change(run, "limits.steps", 5, by=olga, request_id=request_id)
    assert change(run, "limits.steps", 5, by=olga, request_id=request_id) == first
    with pytest.raises(errors.Conflict, match="used for something else"):
        change(run, "limits.steps", 6, by=olga, request_id=request_id)
    second = change(run, "limits.steps", 6, by=olga)
    first.refresh_from_db()
    assert (second.before, first.ended_by, first.ended_because) == (5, olga, "Another took its place.")
    assert AuditEntry.objects.filter(verb="override.made").count() == 2


def test_more_money_than_the_release_allows_takes_somebody_who_answers_for_money(
    pipeline: Start, olga: User, max_: User, rhea: User
) -> None:
    run = pipeline(1, limits={"cost_usd": "0.5"})
    assert change(run, "limits.cost_usd", "0.2", by=olga).value == "0.2"
    with pytest.raises(errors.Forbidden, match="takes the role manager"):
        change(run, "limits.cost_usd", "2", by=olga)
    assert change(run, "limits.cost_usd", "2", by=max_).before == "0.2"
    for nobody in (rhea, max_):
        with pytest.raises(errors.Forbidden, match="takes the role operator"):
            change(run, "limits.steps", 4, by=nobody)
    assert AuditEntry.objects.filter(verb="override.made", outcome="denied").count() == 3


def test_fewer_acts_shown_to_people_than_the_release_promises_takes_governance(
    pipeline: Start, olga: User, governor: User
) -> None:
    run = pipeline(1, thresholds={"confidence": 0.8})
    change(run, "thresholds.confidence", 0.9, by=olga)
    with pytest.raises(errors.Forbidden, match="takes the role governance"):
        change(run, "thresholds.confidence", 0.5, by=olga)
    change(run, "thresholds.confidence", 0.5, by=governor)
    run = pipeline(1, thresholds={"test.echo": 0.8})
    change(run, "thresholds.test.echo", 0.9, by=olga)
    with pytest.raises(errors.Forbidden, match="takes the role governance"):
        change(run, "thresholds.test.echo", 0.5, by=olga)
    run = pipeline(1, thresholds={"confidence": 0.8}, tool_schemas={"test.echo": {"writes": False}})
    with pytest.raises(errors.Forbidden, match="takes the role governance"):
        change(run, "thresholds.test.note", 0.5, by=olga)
    assert change(run, "thresholds.test.note", 0.9, by=olga).before is None, "it was held to that of all tools"
    with pytest.raises(errors.Invalid, match="is no parameter"):
        change(run, "thresholds.test.echo", 0.9, by=olga)


def test_the_end_of_it_is_checked(pipeline: Start, olga: User) -> None:
    run = pipeline(1)
    with pytest.raises(errors.Invalid, match="end before it begins"):
        change(run, "limits.steps", 4, by=olga, lasts=-1)
    for lasts, why in ((None, "Say until when"), (9 * 86400, "At most 7 days")):
        with pytest.raises(errors.Invalid, match=why):
            change(run.agent, "limits.steps", 4, by=olga, lasts=lasts)
    until_it_ends = change(run, "limits.steps", 4, by=olga, lasts=None)
    drive(run)
    assert overriding.expire() == 1
    until_it_ends.refresh_from_db()
    assert until_it_ends.ended_because == "The run ended: reverted by itself."
    with pytest.raises(errors.Conflict, match="nothing of it can be changed"):
        change(run, "limits.steps", 3, by=olga)


def test_taking_back_twice_is_once_and_a_stranger_may_not(pipeline: Start, olga: User, rhea: User, max_: User) -> None:
    run = pipeline(1)
    made = change(run, "limits.steps", 4, by=olga)
    with pytest.raises(errors.Forbidden):
        overriding.revert(made.run, parameter=made.parameter, by=rhea, request_id=uuid7())
    overriding.revert(made.run, parameter=made.parameter, by=olga, reason="it is fast again", request_id=uuid7())
    overriding.revert(made.run, parameter=made.parameter, by=olga, reason="it is fast again", request_id=uuid7())
    assert AuditEntry.objects.filter(verb="override.reverted", outcome="done").count() == 1
    assert overriding.in_force(run) == []
    assert drive(run).state == "completed"


def test_a_paused_run_takes_it_up_when_it_goes_on(pipeline: Start, olga: User) -> None:
    run = pipeline(3)
    interventions.pause(run, by=olga, reason="wait", request_id=uuid7())
    change(run, "limits.steps", 1, by=olga)
    interventions.resume(run, by=olga, request_id=uuid7())
    assert drive(run).failure == "An override allows 1 steps."


def test_nothing_is_looked_up_while_nothing_is_changed(pipeline: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    rows = hotpath.rows
    monkeypatch.setattr(hotpath, "rows", lambda sql, given: asked.append(sql) or rows(sql, given))
    drive(pipeline(5))
    assert tuning.IN_FORCE not in asked


def test_a_reversion_that_is_delivered_twice_leaves_what_was_changed_since(pipeline: Start, olga: User) -> None:
    run, request_id = pipeline(3), uuid7()
    change(run, "limits.steps", 9, by=olga)
    first = overriding.revert(run, parameter="limits.steps", by=olga, reason="back", request_id=request_id)
    newer = change(run, "limits.steps", 7, by=olga)
    assert overriding.revert(run, parameter="limits.steps", by=olga, reason="back", request_id=request_id) == first
    newer.refresh_from_db()
    assert newer.ended_at is None
    with pytest.raises(errors.Conflict, match="something else"):
        overriding.revert(run, parameter="limits.wall_s", by=olga, reason="back", request_id=request_id)
