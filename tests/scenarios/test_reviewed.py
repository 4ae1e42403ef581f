"""Recorded runs of real agents before scripted reviewers, who decide through pages and API: each run ends as they said.

Airline and retail agents change bookings and orders; each such act is held. What was rejected, edited or let lapse
never happens, and nothing recorded after it does either.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agents.models import Run, Step, Team, User
from approvals.escalation import firing, publishing
from approvals.models import Approval, Decision, Escalation
from cockpit.replaying import Replay
from tests import factories
from tests.api import stage
from tests.approvals.clockwork import let_pass
from tests.posting import Browser
from tests.recordings import SHARED, needs_shared, shared_lines
from tests.scenarios.test_replay import drive

pytestmark = [pytest.mark.django_db(transaction=True), needs_shared]

EACH = 6
"""Runs of each domain."""
DOMAINS = ("airline", "retail")
Decide = Callable[..., None]
PLANS = (("approve",), ("approve by API", "edit"), ("reject",), ("edit",), ("edit by API",))
"""How what one run asks is answered, one request after the other; the last answer is that to all that follow."""
OBJECTIONS = {"reject", "edit", "edit by API"}


def lines() -> Iterator[dict[str, Any]]:
    """The first runs of each domain in which an agent acts."""
    found: Counter[str] = Counter()
    for line in shared_lines():
        if line["domain"] in DOMAINS and found[line["domain"]] < EACH and len(line["tool_calls"]) > 4:
            found[line["domain"]] += 1
            yield line


@pytest.fixture(scope="module")
def chosen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """They lie where tool lists can be found, as all recorded runs do."""
    folder = tmp_path_factory.mktemp("reviewed")
    (folder / "domains").symlink_to(SHARED / "domains")
    (folder / "runs").mkdir()
    file = folder / "runs" / "chosen.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines()))
    return file


def by_pages(person: User) -> Decide:
    """Somebody who opens each request and sends its form, filled in."""
    browser = Browser(person)

    def decide(approval: Approval, **chosen: str) -> None:
        page = f"/approvals/{approval.pk}/"
        form = browser.form(page, "/decision/")
        answer = form.submit(**{"reason": "As the booking says.", **chosen})
        assert (answer.status_code, answer.headers["Location"]) == (302, page)

    return decide


@pytest.fixture
def reviewers(team: Team, rhea: User) -> dict[str, Decide]:
    """Who answers how, by pages or by API."""
    api, page = stage.token("second-look", "reviewer", of=team), by_pages(rhea)

    def edit(approval: Approval) -> None:
        """Another text in the first field that holds one."""
        name = next(name for name, value in approval.arguments.items() if isinstance(value, str))
        page(approval, answer="edit", **{f"argument__{name}": f"{approval.arguments[name]} or so"})
        approval.refresh_from_db()
        decision = approval.decisions.get()
        assert decision.arguments == approval.arguments | {name: f"{approval.arguments[name]} or so"}

    def door(approval: Approval, **body: Any) -> None:
        api.post(f"/approvals/{approval.pk}/decision", {"reason": "As the booking says.", **body})

    return {
        "approve": lambda approval: page(approval, answer="approve"),
        "reject": lambda approval: page(approval, answer="reject", code="not_allowed"),
        "edit": edit,
        "edit by API": lambda approval: door(approval, answer="edit", arguments={**approval.arguments, "note": "x"}),
        "approve by API": lambda approval: door(approval, answer="approve"),
    }


def answered(going: Replay, decide: Callable[[Approval], str], reviewers: dict[str, Decide]) -> dict[Any, list[str]]:
    """Drive, and let reviewers answer what is asked, until nothing moves: what was answered, by run."""
    given: dict[Any, list[str]] = {}
    while drive(going)["waiting"]:
        for approval in list(Approval.objects.open()):
            how = decide(approval)
            reviewers[how](approval)
            given.setdefault(approval.run_id, []).append(how)
        going.look()
    return given


def test_each_run_ends_as_its_reviewers_decided(chosen: Path, team: Team, reviewers: dict[str, Decide]) -> None:
    going = Replay(team=team)
    runs = [one for one in going.enqueue([chosen]) if isinstance(one, Run)]
    assert len(runs) == EACH * len(DOMAINS)
    turn = Counter[Any]()

    def by_turns(approval: Approval) -> str:
        """Whole runs are approved, and others until somebody objects."""
        plan = PLANS[[one.pk for one in runs].index(approval.run_id) % len(PLANS)]
        turn[approval.run_id] += 1
        return plan[min(turn[approval.run_id], len(plan)) - 1]

    given = answered(going, by_turns, reviewers)
    assert len(given) > EACH
    assert {how for each in given.values() for how in each} == set(reviewers)
    ended_as_decided(given)
    assert list(going.differences()) == []


def test_what_was_approved_was_carried_out_and_nothing_else(
    chosen: Path, team: Team, reviewers: dict[str, Decide]
) -> None:
    going = Replay(team=team)
    list(going.enqueue([chosen]))
    answered(going, lambda approval: "approve" if approval.pk.int % 2 else "reject", reviewers)
    for approval in Approval.objects.all():
        step = Step.objects.get(run=approval.run_id, seq=approval.seq)
        did = step.state in {"done", "failed"}
        assert did is (approval.state == Approval.State.APPROVED)
        assert (approval.executed == "not_yet") is not did
    tiers = Step.objects.filter(writes=True, kind="tool", tier__gte=3, state__in=["done", "failed"])
    assert tiers.count() == Approval.objects.filter(state="approved").count()


def ladder(team: Team, **end: Any) -> None:
    """Four levels of reviewers, ten minutes each, and then what is said to follow."""
    levels = [{"level": f"L{place}", "targets": ["role:reviewer"], "minutes": 10} for place in range(1, 5)]
    publishing.publish_policy({"team": team.slug, "levels": levels, **end}, by=None)


def ignore(asked: list[Approval], times: int = 4) -> None:
    """Let the time of one level after another go by."""
    for _ in range(times):
        assert not Approval.objects.filter(state="expired").exists()
        for approval in asked:
            let_pass(approval, 10.1)
        firing.fire()


def told_of(approval: Approval) -> list[tuple[str, int]]:
    """Whom it went to, and what came of it."""
    return list(Escalation.objects.filter(approval=approval).order_by("at").values_list("what", "level"))


def nothing_was_done(approvals: list[Approval]) -> None:
    runs = {approval.run_id for approval in approvals}
    assert not Step.objects.filter(run__in=runs, writes=True, state__in=["done", "failed"]).exists()


def by_halves(asked: list[Approval]) -> Callable[[Approval], str]:
    """Every other run is approved, the others are objected to at once."""
    runs = list(dict.fromkeys(approval.run_id for approval in asked))
    return lambda approval: ("approve", "reject")[runs.index(approval.run_id) % 2]


CLIMBED = [("escalated", 2), ("escalated", 3), ("escalated", 4)]


def test_what_everybody_ignores_goes_up_the_ladder_and_never_happens(chosen: Path, team: Team, rhea: User) -> None:
    ladder(team, after_last="reject")
    going = Replay(team=team)
    runs = [one for one in going.enqueue([chosen]) if isinstance(one, Run)]
    drive(going)
    asked = list(Approval.objects.open())
    assert asked
    ignore(asked)
    for approval in asked:
        assert told_of(approval) == [*CLIMBED, ("expired", 4)]
    going.look()
    drive(going)
    silent = {approval.run_id for approval in asked}
    assert set(Approval.objects.filter(pk__in=[one.pk for one in asked]).values_list("state", flat=True)) == {"expired"}
    for run in Run.objects.filter(pk__in=silent):
        assert (run.state, run.failure_class) == ("failed", "diverged")
    nothing_was_done(asked)
    assert {run.state for run in Run.objects.filter(pk__in=[one.pk for one in runs]).exclude(pk__in=silent)} <= {
        "completed"
    }


def test_what_everybody_ignores_is_held_until_somebody_answers(
    chosen: Path, team: Team, reviewers: dict[str, Decide]
) -> None:
    ladder(team, after_last="hold")
    going = Replay(team=team)
    list(going.enqueue([chosen]))
    drive(going)
    asked = list(Approval.objects.open())
    ignore(asked, times=40)  # most of a day: whoever is late is still waited for
    for approval in asked:
        assert told_of(approval) == [*CLIMBED, ("held", 4)]
    assert drive(going)["waiting"] == len(asked) == Approval.objects.open().count()
    nothing_was_done(asked)
    given = answered(going, by_halves(asked), reviewers)
    ended_as_decided(given)


def test_what_everybody_ignores_goes_to_the_emergency_contact_who_decides(chosen: Path, team: Team, rhea: User) -> None:
    ada = factories.person("ada", "reviewer", of=team)
    ladder(team, after_last="emergency", emergency=["ada"])
    going = Replay(team=team)
    list(going.enqueue([chosen]))
    drive(going)
    asked = list(Approval.objects.open())
    ignore(asked)
    for approval in asked:
        assert told_of(approval) == [*CLIMBED, ("emergency", 4)]
        assert Escalation.objects.get(approval=approval, what="emergency").told == ["ada"]
    assert Approval.objects.open().count() == len(asked)
    nothing_was_done(asked)
    ignore(asked)  # nor does her silence let anything happen
    assert drive(going)["waiting"] == len(asked) == Approval.objects.open().count()
    decides = by_pages(ada)
    reviewers: dict[str, Decide] = {
        "approve": lambda approval: decides(approval, answer="approve"),
        "reject": lambda approval: decides(approval, answer="reject", code="not_allowed"),
    }
    given = answered(going, by_halves(asked), reviewers)
    ended_as_decided(given)
    assert {one.by for one in Decision.objects.all()} == {ada}


def ended_as_decided(given: dict[Any, list[str]]) -> None:
    """Runs that somebody objected to went no further, the others all the way."""
    objected = {run_id for run_id, how in given.items() if set(how) & OBJECTIONS}
    assert 0 < len(objected) < len(given)
    for run in Run.objects.all():
        if run.pk not in objected:
            assert run.state == "completed", run.failure
            continue
        assert (run.state, run.failure_class) == ("failed", "diverged")
        last = run.steps.order_by("seq").last()
        assert last
        assert (last.state, last.writes) == ("refused", True)  # and nothing recorded behind it happened
        assert not run.payloads.get(seq=last.seq).output
