"""Recorded runs, replayed: through the real runner, the real gates and the ordinary decisions, to what was recorded."""

from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from agents.contracts import Answer
from agents.models import Agent, AuditEntry, Recording, Release, Run, Step, Team, User
from agents.runs import holds, interventions, replay, runner
from agents.runs.recorded.recording import Counts, Fault
from agents.runs.recorded.tally import expected
from approvals import decisions
from approvals.models import Approval
from cockpit.replaying import Replay
from finops.models import LedgerEntry
from tests import factories
from tests.recordings import SHARED, call, needs_shared, run, said, shared_lines, used, written
from tests.scenarios.shop import WRITE, acting

pytestmark = pytest.mark.django_db(transaction=True)


def drive(going: Replay) -> Counter[str]:
    """Stand in for the workers until only people could move anything."""
    while any(state == Run.State.QUEUED for state in going.states.values()):
        for run_id in going.unfinished:
            runner.drive(run_id)
        going.decide()
        going.look()
    return going.look()


def queued(path: Path, *, team: Team, **how: Any) -> Replay:
    going = Replay(team=team, **how)
    assert [str(each) for each in going.enqueue([path]) if isinstance(each, Fault)] == []
    return going


def only(going: Replay) -> Run:
    (run_id,) = going.states
    return Run.objects.get(pk=run_id)


def answer(approval: Approval, by: User, what: str, **more: Any) -> None:
    decisions.decide(approval, answer=what, reason="not like this", by=by, request_id=uuid4(), **more)


# -- a run that is approved arrives where its recording did


def test_a_replayed_run_has_the_steps_and_figures_of_its_recording(folder: Path, team: Team) -> None:
    going = queued(written(folder, run()), team=team)
    assert drive(going) == {"completed": 1}
    run_ = only(going)
    steps = list(run_.steps.order_by("seq"))
    assert [(step.kind, step.name, step.state) for step in steps] == [
        ("model", "modest-1", "done"),
        ("tool", "find_parcel", "done"),
        ("tool", "find_parcel", "failed"),
        ("model", "modest-1", "done"),
    ]
    assert [step.tokens_in for step in steps] == [20, None, None, 10]
    assert [(step.cost, step.cost_kind) for step in steps if step.kind == "model"] == [
        (Decimal("0.25"), "recorded"),
        (None, "unpriced"),
    ]
    assert (run_.tokens_in, run_.cost, run_.unpriced) == (30, Decimal("0.25"), 1)
    assert steps[2].error == "Error: no such parcel"
    assert run_.objective == "Find out where the parcels are."
    assert list(going.differences()) == []


def test_conversation_is_stored_with_the_step_it_led_to_and_is_no_step(folder: Path, team: Team) -> None:
    going = queued(written(folder, run()), team=team)
    drive(going)
    given = (only(going).payloads.get(seq=1).input or {})["messages"]
    assert [message["role"] for message in given] == ["assistant", "user"]
    assert given[1]["parts"] == [{"type": "text", "content": "Where are my two parcels?"}]


def test_a_step_whose_times_nobody_recorded_has_no_duration(folder: Path, team: Team) -> None:
    timed = call(2, 3, requested_at="2026-03-22T07:51:03", result_at="2026-03-22T07:51:05")
    going = queued(written(folder, run(tool_calls=[timed, call(2, 4)])), team=team)
    drive(going)
    model, known, unknown, _ = only(going).steps.order_by("seq")
    assert (known.finished_at - known.started_at).total_seconds() == 2
    assert unknown.started_at is None
    assert model.started_at is None


def test_malformed_arguments_are_shown_as_malformed_with_the_recorded_outcome(folder: Path, team: Team) -> None:
    calls = [call(2, 3, args=None, args_raw='{"number": ', ok=False, result="Error: bad arguments"), call(2, 4)]
    going = queued(written(folder, run(tool_calls=calls)), team=team)
    assert drive(going) == {"completed": 1}
    step = only(going).steps.get(seq=2)
    assert (step.state, step.error) == ("failed", "Error: bad arguments")
    assert only(going).payloads.get(seq=2).input == {"malformed": '{"number": '}


def test_tokens_that_only_the_run_knows_are_the_runs_and_no_steps(folder: Path, team: Team) -> None:
    messages = [said("assistant", "ls"), said("assistant", "submit")]
    totals = {"usage": {"input_tokens": 500, "output_tokens": 9}, "cost": {"agent_usd": 1.5}}
    going = queued(written(folder, run(messages=messages, tool_calls=[], **totals)), team=team)
    drive(going)
    run_ = only(going)
    assert [step.tokens_in for step in run_.steps.all()] == [None, None]
    assert (run_.tokens_in, run_.tokens_out, run_.cost, run_.unpriced) == (500, 9, Decimal("1.5"), 0)
    assert [(entry.seq, entry.amount, entry.kind) for entry in LedgerEntry.objects.filter(run=run_)] == [
        (0, Decimal("1.5"), "recorded")
    ]
    assert list(going.differences()) == []


def test_a_run_of_which_nobody_counted_anything_is_unpriced_and_not_free(folder: Path, team: Team) -> None:
    messages = [said("assistant", "Hello."), said("assistant", "Bye.")]
    going = queued(written(folder, run(messages=messages, tool_calls=[], usage=None, cost=None)), team=team)
    drive(going)
    assert only(going).unpriced == 2
    assert set(LedgerEntry.objects.values_list("kind", "amount", "tokens_in")) == {("unpriced", None, None)}
    assert list(going.differences()) == []


def test_a_recorded_zero_stays_a_zero(folder: Path, team: Team) -> None:
    messages = [said("assistant", "Hello.", usage=used(cache_read_input_tokens=0), cost_usd=0.0)]
    going = queued(written(folder, run(messages=messages, tool_calls=[], usage=None)), team=team)
    drive(going)
    step = only(going).steps.get()
    assert (step.cost, step.cost_kind) == (Decimal(0), "recorded")
    assert (step.cache_read, step.cache_write) == (0, None)


# -- what writes waits for a person


def test_a_write_waits_and_goes_on_when_a_reviewer_approves(folder: Path, team: Team, rhea: User) -> None:
    going = queued(written(folder, acting({}, {"args": {"number": 8}})), team=team)
    assert drive(going) == {"waiting": 1}
    first = Approval.objects.get(state="open")
    assert (first.tool, first.tier, first.says) == (WRITE, 3, "Send back: number 7")
    answer(first, rhea, "approve")
    going.look()
    assert drive(going) == {"waiting": 1}
    answer(Approval.objects.get(state="open"), rhea, "approve")
    going.look()
    assert drive(going) == {"completed": 1}
    assert [entry.verb for entry in AuditEntry.objects.filter(by=rhea)] == ["approval.decided"] * 2
    assert list(going.differences()) == []


def test_a_tool_nobody_listed_is_supervised_and_waits_for_nobody(folder: Path, team: Team) -> None:
    going = queued(written(folder, run(tool_calls=[call(2, 3, name="whistle"), call(2, 4)])), team=team)
    assert drive(going) == {"completed": 1}
    assert only(going).steps.get(name="whistle").tier == 2


def test_approving_for_all_goes_through_the_ordinary_decision(folder: Path, team: Team, rhea: User) -> None:
    file = written(folder, *(acting({}, run_id=f"shop/{number}") for number in range(4)))
    going = queued(file, team=team, approver=rhea)
    assert drive(going) == {"completed": 4}
    assert going.decided == 4
    assert {(one.by, one.answer) for approval in Approval.objects.all() for one in approval.decisions.all()} == {
        (rhea, "approve")
    }


@pytest.mark.parametrize("second", [{}, {"args": {"number": 8}}])
def test_nothing_recorded_follows_a_rejection(folder: Path, team: Team, rhea: User, second: dict[str, Any]) -> None:
    going = queued(written(folder, acting({}, second)), team=team)
    drive(going)
    answer(Approval.objects.get(state="open"), rhea, "reject")
    going.look()
    assert drive(going) == {"failed": 1}
    run_ = only(going)
    assert run_.failure_class == "diverged"
    assert "not like this" in run_.failure
    assert list(run_.steps.order_by("seq").values_list("name", "state")) == [
        ("modest-1", "done"),
        ("find_parcel", "done"),
        (WRITE, "refused"),
    ]
    assert not run_.payloads.get(seq=3).output


@pytest.mark.parametrize("kind", ["expired", "edited"])
def test_silence_and_an_edit_end_it_like_a_rejection(folder: Path, team: Team, kind: str) -> None:
    going = queued(written(folder, acting({})), team=team)
    drive(going)
    other = {"number": 9} if kind == "edited" else None
    holds.answer(only(going).pk, 3, answer=Answer(kind, None, "rhea", arguments=other))
    going.look()
    assert drive(going) == {"failed": 1}
    assert only(going).failure_class == "diverged"
    assert only(going).steps.get(seq=3).state == "refused"
    assert not only(going).payloads.get(seq=3).output


def test_a_replay_that_is_cancelled_ends_cancelled(folder: Path, team: Team, olga: User) -> None:
    going = queued(written(folder, acting({})), team=team)
    drive(going)
    interventions.cancel(only(going), by=olga, reason="seen enough", request_id=uuid4())
    assert drive(going) == {"cancelled": 1}
    assert not Approval.objects.filter(state="open").exists()


def test_no_starter_stands_in_the_way_of_a_reviewer(folder: Path, team: Team) -> None:
    going = queued(written(folder, acting({})), team=team)
    assert only(going).started_by is None
    assert only(going).agent.owner is None


# -- agents and releases


def test_replaying_again_makes_new_runs_of_the_same_release(folder: Path, team: Team) -> None:
    file = written(folder, run())
    first, second = only(queued(file, team=team)), only(queued(file, team=team))
    assert first.pk != second.pk
    assert (first.release_id, first.input) == (second.release_id, second.input)
    assert (Agent.objects.count(), Release.objects.count(), Recording.objects.count()) == (1, 1, 1)


def test_other_content_is_a_new_version_and_earlier_runs_stay_with_theirs(folder: Path, team: Team) -> None:
    first = only(queued(written(folder, run()), team=team))
    second = only(queued(written(folder, run(model="modest-2")), team=team))
    assert (first.release.version, second.release.version) == ("1", "2")
    agent = Agent.objects.get()
    assert agent.release == second.release
    first.release.refresh_from_db()
    assert (first.release.state, second.release.state) == ("retired", "live")


def test_a_published_recording_cannot_be_changed(folder: Path, team: Team) -> None:
    release = only(queued(written(folder, run()), team=team)).release
    release.bundle["prompts"] = {"system": "Give everything away."}
    with pytest.raises(Exception, match="immutable"):
        release.save()


def test_a_prefix_makes_agents_of_their_own_and_a_long_name_still_fits(folder: Path, team: Team) -> None:
    long = run(source={"dataset": "d" * 100}, run_id="long")
    going = queued(written(folder, run(), long), team=team, prefix="trial-")
    slugs = {Run.objects.get(pk=run_id).agent.slug for run_id in going.states}
    assert "trial-shop-parcel-clerk" in slugs
    assert {len(slug) <= 80 and slug.startswith("trial-") for slug in slugs} == {True}


def test_an_agent_that_does_real_work_is_never_taken_over(folder: Path, team: Team) -> None:
    factories.agent("shop-parcel-clerk", of=team)
    (fault,) = Replay(team=team).enqueue([written(folder, run())])
    assert isinstance(fault, Fault)
    assert "choose another prefix" in fault.reason
    assert Run.objects.count() == 0


def test_a_stranger_sees_nothing_of_a_replay(folder: Path, team: Team, stranger: User) -> None:
    queued(written(folder, run()), team=team)
    for rows in (Run, Agent, Release, Step):
        assert not rows.objects.visible_to(stranger).exists()


def test_what_cannot_be_read_is_reported_and_the_rest_is_queued(folder: Path, team: Team) -> None:
    going = Replay(team=team)
    file = written(folder, run(run_id="one"), '{"broken', run(run_id="two", surprise=1))
    faults = [each for each in going.enqueue([file]) if isinstance(each, Fault)]
    assert [(fault.line, fault.severity.value) for fault in faults] == [(2, "skipped"), (3, "noticed")]
    assert len(going.states) == Run.objects.count() == 2


# -- the real ones


@needs_shared
def test_every_shared_run_completes_and_equals_its_recording(team: Team, rhea: User) -> None:
    going = queued(SHARED, team=team, approver=rhea)
    assert drive(going) == {"completed": len(going.states)}
    sources = dict(Recording.objects.values_list("pk", "source_id"))
    came: dict[str, tuple[UUID, Counts]] = {}
    for run_id, counts in replay.arrived(list(going.states)):
        recording = UUID(Run.objects.values_list("input", flat=True).get(pk=run_id)["recording"])
        came[sources[recording]] = (run_id, counts)
    steps: dict[UUID, list[tuple[str, str, int | None]]] = {}
    for run_id, *step in Step.objects.order_by("run", "seq").values_list("run_id", "kind", "name", "tokens_in"):
        steps.setdefault(run_id, []).append((step[0], step[1], step[2]))
    raws = list(shared_lines())
    assert len(came) == len(raws) == len(going.states)
    for raw in raws:
        run_id, counts = came[raw["run_id"]]
        assert counts == expected(raw), raw["run_id"]
        used_tools = [each["name"] for each in raw["tool_calls"] if each["requestor"] == "assistant"]
        assert [name for kind, name, _ in steps[run_id] if kind == "tool"] == used_tools
        told = [(each["usage"] or {}).get("input_tokens") for each in raw["messages"] if each["role"] == "assistant"]
        assert [figure for *_, figure in steps[run_id] if figure] == [figure for figure in told if figure]
        if (raw["usage"] or {}).get("input_tokens") is not None:
            totals = Run.objects.values("tokens_in", "tokens_out", "cost").get(pk=run_id)
            assert (totals["tokens_in"], totals["tokens_out"]) == (
                raw["usage"]["input_tokens"],
                raw["usage"]["output_tokens"],
            )
            assert abs(float(totals["cost"]) - raw["cost"]["agent_usd"]) < 1e-6
