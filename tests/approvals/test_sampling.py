"""What agents did alone: a share of it goes to people, at random, from each stratum of confidence."""

from random import Random

import pytest
from django.test import Client
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as some
from uuid_utils.compat import uuid7

from agents import errors
from agents.models import AuditEntry, Autonomy, Run, Step, StepPayload, Team, User
from approvals.decisions import decide
from approvals.learning import evidence
from approvals.models import Approval
from approvals.sampling import coverage, drawing, strata
from approvals.sampling.models import SampleCount
from tests import factories

SHARES = some.integers(min_value=10, max_value=20).map(lambda percent: percent / 100)


@given(SHARES, some.integers(min_value=0, max_value=10_000), some.integers(min_value=20, max_value=400))
def test_what_is_taken_stays_within_an_act_of_the_share(share: float, seed: int, acts: int) -> None:
    chance, taken = Random(seed).random, 0
    for seen in range(acts):
        taken += strata.is_taken(seen, taken, share, chance)
        assert abs(taken - share * (seen + 1)) <= 1


@given(SHARES)
def test_nobody_can_say_in_advance_which(share: float) -> None:
    firsts = set()
    for seed in range(60):
        chance, taken, picked = Random(seed).random, 0, []
        for seen in range(20):
            if strata.is_taken(seen, taken, share, chance):
                taken += 1
                picked.append(seen)
        firsts.add(tuple(picked))
    assert len(firsts) > 20


def test_who_does_not_know_how_sure_it_is_has_a_stratum_of_its_own() -> None:
    assert strata.stratum(None) == strata.UNKNOWN
    assert [strata.stratum(one) for one in (0.0, 0.5, 0.79, 0.8, 0.95, 1.0)] == [
        *("below 50 %", "50 to 80 %", "50 to 80 %", "80 to 95 %"),
        *(strata.TOP, strata.TOP),
    ]


@pytest.fixture
def run(team: Team, olga: User) -> Run:
    drawing.draw()  # from now on
    agent = factories.agent("desk", of=team)
    agent.release = factories.release(agent, tools=["test.mail"])
    agent.save(update_fields=["release"])
    return factories.run(agent, by=olga)


def act(run: Run, **fields: object) -> Step:
    step = factories.step(
        run,
        **{
            "kind": "tool",
            "name": "test.mail",
            "state": "done",
            "tier": 2,
            "writes": True,
            "says": "Write to Lindenhof",
            "confidence": 0.9,
            **fields,
        },
    )
    StepPayload.objects.update_or_create(
        run_id=run.pk, seq=step.seq, defaults={"input": {"arguments": {"to": "Lindenhof"}}}
    )
    return step


def always() -> float:
    return 0.0


@pytest.mark.django_db(transaction=True)
def test_a_share_of_what_was_done_alone_is_asked_about_once(run: Run, rhea: User) -> None:
    for _ in range(40):
        act(run)
    act(run, tier=1)
    act(run, writes=False)
    act(run, state="failed")
    act(run, simulated=True)
    opened = drawing.draw()
    assert 5 <= opened <= 7  # 15 % of 40
    assert drawing.draw() == 0
    count = SampleCount.objects.get()
    assert (count.seen, count.taken, count.stratum) == (40, opened, "80 to 95 %")
    asked = Approval.objects.filter(kind="sample")[0]
    assert (asked.executed, asked.says, asked.arguments) == (
        "executed",
        "Write to Lindenhof",
        {"to": "Lindenhof"},
    )


@pytest.mark.django_db(transaction=True)
def test_what_has_earned_tier_1_is_still_looked_at_until_it_is_lost(run: Run, governor: User, rhea: User) -> None:
    earned = Autonomy.objects.create(
        agent=run.agent, tool="test.mail", was=2, tier=1, granted_by=governor, reason="Shown.", request_id=uuid7()
    )
    act(run, tier=1)
    act(run, tier=1, name="test.gift")
    assert drawing.draw(always) == 1, "what its release lets it do at tier 1 is no sample"
    asked = Approval.objects.get(kind="sample")
    assert (asked.tool, asked.tier) == ("test.mail", 1), "as it was done"
    decide(asked, answer="reject", reason="Too curt.", by=rhea, request_id=uuid7())
    seen = evidence.of(run.agent, "test.mail", tier=1, since=earned.granted_at)
    assert (seen.judged.right, seen.judged.of) == (0, 1), "which is how drift is seen at this tier"
    Autonomy.objects.filter(pk=earned.pk).update(ended_at=timezone.now())
    act(run, tier=1)
    assert drawing.draw(always) == 0


@pytest.mark.django_db(transaction=True)
def test_the_judgement_wakes_nobody_and_counts(run: Run, rhea: User) -> None:
    act(run)
    act(run, confidence=None)
    assert drawing.draw(always) == 2
    Run.objects.filter(pk=run.pk).update(state="completed", finished_at=timezone.now())
    first, second = Approval.objects.filter(kind="sample")
    with pytest.raises(errors.Conflict, match="has happened"):
        decide(first, answer="edit", reason="", by=rhea, request_id=uuid7(), arguments={})
    assert str(decide(first, answer="approve", reason="", by=rhea, request_id=uuid7())) == "Found right by rhea"
    with pytest.raises(errors.Invalid, match="Say why"):
        decide(second, answer="reject", reason="", by=rhea, request_id=uuid7())
    decide(second, answer="reject", reason="Too curt.", by=rhea, request_id=uuid7())
    assert Run.objects.get(pk=run.pk).state == "completed"
    (found,) = coverage.of(rhea)
    assert (found.seen, found.taken, found.right, found.wrong, found.waiting) == (2, 2, 1, 1, 0)
    assert found.looked_at == 1
    seen = evidence.of(run.agent, "test.mail", tier=2, since=evidence.EVER)
    assert (seen.judged.right, seen.judged.of) == (1, 2), "samples are what speaks for a milder tier"


@pytest.mark.django_db(transaction=True)
def test_governance_sets_the_share_within_bounds(run: Run, governor: User, rhea: User) -> None:
    agent, request_id = run.agent, uuid7()
    made = coverage.set_rate(agent, "test.mail", 20, by=governor, reason="new tool", request_id=request_id)
    assert made == coverage.set_rate(agent, "test.mail", 20, by=governor, reason="new tool", request_id=request_id)
    with pytest.raises(errors.Invalid, match="from 10 to 20"):
        coverage.set_rate(agent, "test.mail", 5, by=governor, reason="less", request_id=uuid7())
    with pytest.raises(errors.Invalid, match=r"desk has no tool called 'test\.mial'; it has test\.mail"):
        coverage.set_rate(agent, "test.mial", 20, by=governor, reason="typed", request_id=uuid7())
    with pytest.raises(errors.Forbidden, match="governance"):
        coverage.set_rate(agent, "test.mail", 10, by=rhea, reason="less", request_id=uuid7())
    entry = AuditEntry.objects.get(verb="sample.rate", outcome="done")
    assert (entry.detail["before"], entry.detail["after"]) == (15, 20)
    for _ in range(50):
        act(run)
    assert 9 <= drawing.draw() <= 11


@pytest.mark.django_db(transaction=True)
def test_the_page_says_what_was_drawn(run: Run, governor: User, client: Client) -> None:
    client.force_login(governor)
    assert "Nothing to draw from yet" in client.get("/approvals/samples/").content.decode()
    act(run)
    drawing.draw(always)
    page = client.get("/approvals/samples/").content.decode()
    assert "test.mail" in page
    assert "80 to 95 %: 1 of 1" in page
    posted = {"tool": "test.mail", "percent": "12", "reason": "few people", "request_id": str(uuid7())}
    assert client.post("/approvals/samples/desk/", posted).status_code == 302
    assert "12 %" in client.get("/approvals/samples/").content.decode()
