"""What came of acts: let through, found right afterwards, edited, rejected, corrected later, and counted once each."""

import math
from collections import Counter
from dataclasses import asdict
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from uuid_utils.compat import uuid7

from agents.models import Agent, Run, Step, Team, User
from agents.runs import interventions, runner
from approvals.decisions import decide
from approvals.learning import calibration, charts, evidence, labels
from approvals.learning.outcomes import Outcomes
from approvals.learning.statistics import Share
from approvals.models import Approval, Decision
from tests import factories, toolbox
from tests.api import stage
from tests.approvals.learning import decided

LONG_AGO = timezone.now() - timedelta(days=3650)
SAMPLE: dict[str, Any] = {"kind": Approval.Kind.SAMPLE, "tier": 2, "bound": {}, "executed": "executed"}


@pytest.fixture
def refunds(db: None) -> Agent:
    """An agent whose release has the tool that these tests speak of."""
    made: Agent = factories.agent("refunds")
    made.release = factories.release(made, tools=[decided.TOOL], tiers={decided.TOOL: 2})
    made.save(update_fields=["release"])
    return made


def came_of(agent: Agent) -> Outcomes:
    return calibration.of(agent.pk, since=LONG_AGO).outcomes


def look(sample: Approval, answer: str, *, by: User) -> Decision:
    """Somebody looks at it afterwards and says whether it was right."""
    sample.save()
    return decide(sample, answer=answer, reason="I rang the customer.", by=by, request_id=uuid7())


def test_each_act_is_counted_once_under_what_came_of_it(refunds: Agent, rhea: User) -> None:
    decided.judged(refunds, [(0.9, "approved")] * 5 + [(0.9, "edited")] * 4 + [(0.9, "rejected")] * 3, by=rhea)
    back = decided.judged(refunds, [(0.9, "approved")] * 2 + [(0.9, "edited")], by=rhea)
    for one in back:
        decided.take_back(one)
    assert came_of(refunds) == Outcomes(approved=5, edited=5, rejected=3, corrected=2), "an edit was wrong before"
    afterwards = decided.judged(refunds, [(0.8, "approved")] * 7 + [(0.8, "rejected")] * 6, by=rhea, **SAMPLE)
    decided.take_back(afterwards[0])
    found = calibration.of(refunds.pk, since=LONG_AGO)
    assert found.outcomes == Outcomes(approved=5, verified=6, edited=5, rejected=3, corrected=9)
    assert found.judged == found.outcomes.share == Share(11, 28)
    assert [(cell.place, cell.right, cell.of) for cell in found.cells] == [(80, 6, 13), (90, 5, 15)]


def test_a_sample_found_right_is_verified_until_the_act_is_taken_back(refunds: Agent, rhea: User) -> None:
    sample = decided.alone(refunds)
    made = look(sample, "approve", by=rhea)
    assert came_of(refunds) == Outcomes(verified=1)
    decided.take_back(sample)
    assert came_of(refunds) == Outcomes(corrected=1), "counted once, as judged"
    label = labels.labelled(list(labels.decisions(None).filter(pk=made.pk)))[0]
    assert (label.outcome, label.right) == ("corrected", False)


def test_what_was_taken_back_is_evidence_though_nobody_judged_it(refunds: Agent, rhea: User) -> None:
    decided.alone(refunds, 0.95)  # it stands, and nobody looked: that says nothing
    undone = decided.alone(refunds, 0.95)
    silent = decided.alone(refunds, None)
    waiting = decided.alone(refunds, 0.42)
    waiting.save()
    for one in (undone, silent, waiting):
        decided.take_back(one)
    found = calibration.of_agents([refunds.pk], since=LONG_AGO)[refunds.pk][0]
    assert found.outcomes == Outcomes(corrected=3, undone=3)
    assert ([(cell.place, cell.right, cell.of) for cell in found.cells], found.silent) == (
        [(42, 0, 1), (95, 0, 1)],
        Share(0, 1),
    )
    decide(waiting, answer="reject", reason="Paid twice.", by=rhea, request_id=uuid7())
    assert came_of(refunds) == Outcomes(corrected=3, undone=2), "judged now, and still one act"


@pytest.mark.parametrize(
    "fields",
    [{"tier": 4}, {"simulated": True}, {"writes": False}, {"answer": {"kind": "outcome"}}],
    ids=["a person's act", "a simulated act", "a look", "an act that a person answered for"],
)
def test_not_everything_that_was_taken_back_says_something_about_the_agent(
    refunds: Agent, fields: dict[str, Any]
) -> None:
    decided.take_back(decided.alone(refunds, **fields))
    left = decided.take_back(decided.alone(refunds))
    Step.objects.filter(pk=left.pk).update(state=Step.State.REFUSED)
    assert came_of(refunds) == Outcomes(), "nor does what could not be taken back"


def test_what_a_failed_run_takes_back_says_nothing_about_its_acts(refunds: Agent, rhea: User) -> None:
    let_through = decided.judged(refunds, [(0.9, "approved")], by=rhea)[0]
    decided.take_back(let_through, answer=None)
    decided.take_back(decided.alone(refunds), answer=None)
    assert came_of(refunds) == Outcomes(approved=1), "another act failed, or another system"
    Run.objects.filter(agent=refunds).update(ending={"state": "cancelled"})
    assert came_of(refunds) == Outcomes(corrected=2, undone=1), "that is what people wanted"


BACK = st.sampled_from(["", "", "answered", "cancelled", "was cancelled", "failed", "held"])
CASES = st.fixed_dictionaries(
    {
        "state": st.sampled_from(["approved", "approved", "edited", "rejected"]),
        "kind": st.sampled_from(["act", "act", "sample", "sample", "question", "in_doubt"]),
        "tier": st.sampled_from([2, 3, 4]),
        "bound": st.sampled_from([{}, {"kind": "tool"}, {"kind": "model"}, {"kind": "tool", "compensates": 1}]),
        "back": BACK,
    }
)


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(CASES, min_size=5, max_size=12))
def test_labels_calibration_and_autonomy_say_the_same_of_each_act(
    refunds: Agent, rhea: User, cases: list[dict[str, Any]]
) -> None:
    with transaction.atomic():
        for case in cases:
            fields = {name: value for name, value in case.items() if name not in ("back", "state")}
            _take_back(decided.judged(refunds, [(0.9, case["state"])], by=rhea, **fields)[0], case["back"])
        told = Counter(one.outcome for one in labels.every(labels.decisions(None)) if one.outcome)
        assert told == Counter({name: of for name, of in asdict(came_of(refunds)).items() if of and name != "undone"})
        seen = [evidence.of(refunds, decided.TOOL, tier=tier, since=LONG_AGO).judged for tier in (2, 3, 4)]
        assert sum(one.of for one in seen) == told.total()
        assert sum(one.right for one in seen) == told["approved"] + told["verified"]
        transaction.set_rollback(True)


def _take_back(act: Approval, how: str) -> None:
    if how:
        answer = {"kind": "approved"} if how in ("answered", "held") else None
        made = decided.take_back(act, answer=answer)
        Step.objects.filter(pk=made.pk).update(state=Step.State.HELD if how == "held" else Step.State.DONE)
    if how == "cancelled":
        Run.objects.filter(pk=act.run_id).update(state="cancelled")
    if how in ("was cancelled", "failed"):
        Run.objects.filter(pk=act.run_id).update(ending={"state": how.removeprefix("was ")})


def test_what_was_judged_and_what_was_not_lie_in_the_same_hundredth(refunds: Agent, rhea: User) -> None:
    """The one is placed by the ORM, the other by a statement of its own."""
    edges = [
        edge for n in range(0, 101, 4) for edge in (n / 100, math.nextafter(n / 100, 0), math.nextafter(n / 100, 1))
    ]
    edges += [0.29, 0.57, 0.58, 1 / 3, 0.999999999999]
    decided.judged(refunds, [(sure, "approved") for sure in edges], by=rhea)
    acts = [
        Step(seq=n, turn=n, kind="tool", name=decided.TOOL, state="done", tier=2, writes=True, confidence=sure)
        for n, sure in enumerate(edges, 2)
    ]
    back = [
        Step(seq=1000 + n, turn=1000, kind="tool", state="done", compensates=n, answer={})
        for n in range(2, len(edges) + 2)
    ]
    run = decided.judged(refunds, [(None, "approved")], by=rhea, tool="test.note")[0].run
    for step in [*acts, *back]:
        step.run, step.agent_id, step.simulated = run, refunds.pk, False
    Step.objects.bulk_create([*acts, *back])
    found = calibration.of(refunds.pk, tool=decided.TOOL, since=LONG_AGO)
    assert found.outcomes == Outcomes(approved=len(edges), corrected=len(edges), undone=len(edges))
    assert [(cell.place, cell.right * 2) for cell in found.cells] == [(cell.place, cell.of) for cell in found.cells]


def test_autonomy_rests_on_what_people_looked_at_and_says_what_else_was_taken_back(refunds: Agent, rhea: User) -> None:
    decided.judged(refunds, [(0.9, "approved")] * 9, by=rhea, **SAMPLE)
    decided.take_back(decided.alone(refunds))
    drawn = decided.alone(refunds)
    drawn.save()
    decided.take_back(drawn)
    seen = evidence.gather(refunds, decided.TOOL)
    assert seen
    assert (seen.judged, seen.undone, seen.said) == (Share(9, 10), 2, 10)


@pytest.mark.django_db(transaction=True)
def test_what_a_cancelled_run_takes_back_counts_against_its_agent(team: Team, olga: User) -> None:
    agent = factories.agent("porter", of=team)
    stages = [
        {"tool": "test.reserve", "arguments": {"item": "kettle"}},
        {"tool": "test.letter", "arguments": {"text": "x"}},
    ]
    tools = ["test.reserve", "test.letter"]
    release = factories.release(agent, program="pipeline", tools=tools, pipeline=stages, models=[], limits={})
    run = factories.run(agent, by=olga, release=release)
    toolbox.effects.clear()
    runner.drive(run.pk)
    run.refresh_from_db()
    interventions.cancel(run, by=olga, reason="Not this customer.", request_id=uuid7())
    for _ in range(5):
        runner.drive(run.pk)
    assert Run.objects.get(pk=run.pk).state == "cancelled"
    assert [what for what, _ in toolbox.effects] == ["reserve kettle", "release R-kettle"]
    (found,) = calibration.of_agents([agent.pk], since=LONG_AGO)[agent.pk]
    assert (found.tool, found.outcomes) == ("test.reserve", Outcomes(corrected=1, undone=1))


def test_the_bar_is_full_and_shows_what_is_rare() -> None:
    bar = charts.parts(Outcomes(approved=990, corrected=10))
    assert [(part.outcome, part.of, part.share) for part in bar if part.of] == [
        ("approved", 990, 0.99),
        ("corrected", 10, 0.01),
    ]
    assert bar[-1].width > 1.4
    assert sum(part.width for part in bar) == pytest.approx(100, abs=0.05)
    assert [part.x for part in bar] == [0, *[bar[0].width] * 4]
    assert {(part.share, part.width) for part in charts.parts(Outcomes())} == {(None, 0.0)}


def test_the_page_and_the_api_tell_each_outcome(refunds: Agent, rhea: User, client: Client) -> None:
    decided.judged(refunds, [(0.9, "approved")] * 12 + [(0.9, "edited")] * 3 + [(0.9, "rejected")] * 2, by=rhea)
    decided.judged(refunds, [(0.9, "approved")] * 8 + [(0.9, "rejected")], by=rhea, **SAMPLE)
    decided.take_back(decided.alone(refunds))
    told = stage.token("watch", "viewer").get("/agents/refunds/calibration")
    assert told["outcomes"] == {
        "approved": 12, "verified": 8, "edited": 3, "rejected": 2, "corrected": 2, "undone": 1,
    }  # fmt: skip
    assert (told["judged"]["right"], told["judged"]["of"]) == (20, 27)
    client.force_login(rhea)
    page = client.get("/approvals/calibration/refunds/").content.decode()
    assert (
        'aria-label="12 approved as it stood, 8 found right afterwards, 3 edited, 2 rejected, 2 corrected later"'
        in page
    )
    assert "1 of them nobody had judged" in page.replace("\N{NO-BREAK SPACE}", " ")
