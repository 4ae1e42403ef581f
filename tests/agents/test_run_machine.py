"""Whatever happens to a run, in whatever order, it keeps the promises of the engine; and once left in peace it ends.

Drivers die and fall asleep at every place where they can; leases run out and others take over; people pause, resume,
cancel, freeze, thaw and answer, also while a driver stands still. After every move the promises are checked against the
database and the world outside.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import product
from typing import Any, ClassVar
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from uuid_utils.compat import uuid7

from agents import errors, signals
from agents.models import Run, Step, StepPayload, Touch, User
from agents.runs import interventions, recovery
from agents.runs.lease import Claim
from approvals.decisions import decide
from approvals.models import Approval
from tests import factories
from tests.agents import site
from tests.agents.site import Fate, Sleeper

pytestmark = pytest.mark.django_db(transaction=True)

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
OPEN = ["held", "intended", "in_doubt"]
TOOLS = ["read", "fail", "note", "post", "pay"]
WRITES = {"note", "post", "pay"}
WISHES = {verb.__name__: verb for verb in (interventions.pause, interventions.resume, interventions.cancel)}
ANSWERS = ["approve", "edit", "reject"]

turns = st.lists(st.lists(st.sampled_from(TOOLS), min_size=1, max_size=3), min_size=2, max_size=4)
dies = st.integers(1, 9)  # at the n-th place that the driver meets
people = st.sampled_from([*WISHES, "freeze or thaw", *ANSWERS])


class Machine(RuleBasedStateMachine):
    """One agent, one or two runs, and everybody who has something to say about them."""

    olga: ClassVar[User]
    rhea: ClassVar[User]

    def __init__(self) -> None:
        super().__init__()
        self.agent = factories.agent(of=self.olga.memberships.get().team)
        self.closed: dict[tuple[UUID, int], Any] = {}
        self.ended: dict[UUID, Any] = {}
        site.begun.clear()
        site.deeds.clear()

    # --- what happens ------------------------------------------------------------------------------------------------
    @initialize(turns=turns)
    def start(self, turns: list[list[str]]) -> None:
        tools = [f"site.{what}" for what in TOOLS]
        bundle = {"program": "tests.agents.site:Shift", "turns": turns, "tools": tools, "models": [], "limits": {}}
        factories.run(self.agent, by=self.olga, release=factories.release(self.agent, **bundle))

    @precondition(lambda self: self.runs().live().count() < 2)
    @rule(turns=turns)
    def start_another(self, turns: list[list[str]]) -> None:
        self.start(turns)

    @precondition(lambda self: self.runs().live().exists())
    @rule(which=st.integers(0, 1), dies=st.none() | dies)
    def drive(self, which: int, dies: int | None) -> None:
        """A worker comes by, later than any lease of a dead one; sooner or later it may die as well."""
        recovery.sweep(patience=0)  # whenever it comes, it moves nothing that does not want to move
        run, begun = self.pick(which), len(site.begun)
        take_over(run.pk, dies)
        if run.asked or run.agent.frozen_at:
            assert len(site.begun) == begun, "no step starts after a person has said stop"

    @precondition(lambda self: self.runs().live().exists())
    @rule(which=st.integers(0, 1), nth=st.integers(1, 7), meanwhile=st.lists(st.none() | dies | people, max_size=3))
    def drive_and_fall_asleep(self, which: int, nth: int, meanwhile: list[str | int | None]) -> None:
        """A driver stands still while others drive, answer and wish, and then goes on as if nothing had happened."""
        sleeper = Sleeper(self.pick(which).pk, Fate(nth, sleeps=True))
        run_out(sleeper.run_id)
        sleeper.start()
        is_asleep = sleeper.settle()
        token = Run.objects.get(pk=sleeper.run_id).lease_token
        try:
            for one in meanwhile or [None]:
                if isinstance(one, str):
                    self.happen(sleeper.run_id, one)
                else:
                    take_over(sleeper.run_id, one)
            self.promises_are_kept()
        finally:
            self.wake(sleeper, token) if is_asleep else sleeper.wake()

    def wake(self, sleeper: Sleeper, token: int) -> None:
        run, begun = Run.objects.select_related("agent").get(pk=sleeper.run_id), len(site.begun)
        before = stored(run.pk)
        sleeper.wake()
        new = site.begun[begun:]
        if run.lease_token != token:
            assert stored(run.pk) == before, "a fenced driver changes nothing"
        elif run.asked or run.agent.frozen_at:
            # Asked while the wish was written, the program may have said read, which has no intent to hear it, or end.
            was_asked = sleeper.fate.place == "asked"
            assert not WRITES & set(new), "no act begins after a wish"
            assert len(new) <= was_asked, "and no step after the next checkpoint"
            expected = {"pause": "paused", "cancel": "cancelled", "": "running"}[run.asked]
            run.refresh_from_db()
            assert run.state == expected or (was_asked and run.state == "completed")
            assert run.lease_until is None

    # --- what people want --------------------------------------------------------------------------------------------
    @rule(which=st.integers(0, 1), one=people)
    def speak(self, which: int, one: str) -> None:
        self.happen(self.pick(which).pk, one)

    def happen(self, run_id: UUID, one: str) -> None:
        if one in WISHES:
            self.steer(run_id, WISHES[one])
        elif one in ANSWERS:
            for question in self.questions()[:1]:
                self.settle(question, one)
        else:
            self.agent.refresh_from_db()
            verb = interventions.thaw if self.agent.frozen_at else interventions.freeze
            verb(self.agent, by=self.olga, reason="I want it so.", request_id=uuid7())

    def steer(self, run_id: UUID, verb: Callable[..., Any]) -> None:
        before = stored(run_id)
        try:
            verb(Run.objects.get(pk=run_id), by=self.olga, reason="I want it so.", request_id=uuid7())
        except errors.Conflict:
            assert stored(run_id) == before, "what is refused changes nothing"

    def settle(self, question: Approval, answer: str) -> None:
        """Decide; about an act in doubt somebody looks at what really happened."""
        more: dict[str, Any] = {}
        if question.kind == Approval.Kind.IN_DOUBT and answer != "reject":
            happened = deeds_of(question.run_id).get(question.seq)
            answer = "outcome" if happened else "absent"
            more = {"outcome": {"text": "I saw it."}} if happened else {}
        elif answer == "edit":
            more = {"arguments": {"text": f"{question.arguments['text']}, edited"}}
        decide(question, answer=answer, reason="I looked.", by=self.rhea, request_id=uuid7(), **more)

    # --- what is promised --------------------------------------------------------------------------------------------
    @invariant()
    def promises_are_kept(self) -> None:
        steps, questions = defaultdict(list), defaultdict(list)
        for step in Step.objects.filter(agent_id=self.agent.pk).order_by("run_id", "seq").values():
            steps[step["run_id"]].append(step)
        for question in self.questions():
            questions[question.run_id].append(question.seq)
        for run in self.runs():
            self.steps_stay_as_they_ended(run, steps[run.pk])
            whoever_waits_is_waited_for(run, steps[run.pk], sorted(questions[run.pk]))
            every_deed_has_one_key_and_leave(run)
            if run.is_ended and run.pk not in self.ended:
                self.ended[run.pk] = stored(run.pk)
                assert not {step["state"] for step in steps[run.pk]} & set(OPEN)
                assert run.steps_done == sum(step["state"] != "cancelled" for step in steps[run.pk])

    def steps_stay_as_they_ended(self, run: Run, steps: list[dict[str, Any]]) -> None:
        for step in steps:
            if step["state"] not in OPEN:
                assert self.closed.setdefault((run.pk, step["seq"]), step) == step
        known = {seq for run_id, seq in self.closed if run_id == run.pk}
        assert known <= {step["seq"] for step in steps}, "and none is lost"
        if run.state in {"waiting", "completed"}:
            assert [step["seq"] for step in steps] == list(range(1, len(steps) + 1))

    # --- left in peace -----------------------------------------------------------------------------------------------
    def teardown(self) -> None:
        self.agent.refresh_from_db()
        if self.agent.frozen_at:
            interventions.thaw(self.agent, by=self.olga, request_id=uuid7())
        for _ in range(12):
            for run in self.runs().live():
                self.push_on(run)
        for run in self.runs():
            has_come_to_its_end(run)
        for run_id, then in self.ended.items():
            assert stored(run_id) == then, "nothing happens after an end"

    def push_on(self, run: Run) -> None:
        """What people and workers do all day."""
        if run.state == "paused":
            interventions.resume(run, by=self.olga, request_id=uuid7())
        take_over(run.pk, None)
        for question in self.questions():
            self.settle(question, "approve")

    # --- looking -----------------------------------------------------------------------------------------------------
    def runs(self) -> Any:
        return Run.objects.filter(agent=self.agent).select_related("release", "agent").order_by("id")

    def pick(self, which: int) -> Run:
        """One of the runs, rather one that still lives."""
        found = list(self.runs().live()) or list(self.runs())
        return found[which % len(found)]

    def questions(self) -> list[Approval]:
        return list(Approval.objects.filter(agent=self.agent).open())


def run_out(run_id: UUID) -> None:
    """Let the time of a lease pass, whoever has it."""
    Run.objects.filter(pk=run_id, lease_until__isnull=False).update(lease_until=LONG_AGO)


def take_over(run_id: UUID, dies: int | None) -> None:
    """Another driver comes, when the lease of the one before is over; it may die at the n-th place that it meets."""
    run_out(run_id)
    site.drive(run_id, Fate(dies) if dies else None)


def whoever_waits_is_waited_for(run: Run, steps: list[dict[str, Any]], asked: list[int]) -> None:
    waiting = [step["seq"] for step in steps if step["state"] in {"held", "in_doubt"} and step["answer"] is None]
    assert asked == waiting, "one question for each step that waits, and none besides"
    assert run.state != "waiting" or waiting, "a run that waits for nobody would wait for ever"
    assert run.state == "running" or (run.lease_until, run.lease_holder) == (None, "")


def every_deed_has_one_key_and_leave(run: Run) -> None:
    for seq, done in deeds_of(run.pk).items():
        assert {deed.key for deed in done} == {f"{run.pk}:{seq}"}
        assert len({deed.text for deed in done}) == 1
        for deed in done:
            assert deed.what != "post" or len(done) == 1, "what knows no key is not repeated"
            assert deed.what != "pay" or deed.text in (deed.allowed or []), "nobody had let this through"


def has_come_to_its_end(run: Run) -> None:
    assert run.is_ended, f"{run} is {run.state}, though nothing stands in its way"
    assert run.failure_class in {"", "poisoned", "stopped"}
    done = deeds_of(run.pk)
    for step in run.steps.filter(writes=True):
        if step.state == "done":
            assert step.seq in done, "what is said to be done has happened"
        elif step.state == "refused":
            # About a letter in doubt a person may say stop, and by then it may be on its way.
            assert step.seq not in done or step.name == "site.post", "what was refused has not"
    if run.state == "completed":
        planned = [f"site.{what}" for turn in run.release.bundle["turns"] for what in turn]
        assert list(run.steps.order_by("seq").values_list("name", flat=True)) == planned, "no step is lost"


def deeds_of(run_id: UUID) -> dict[int, list[site.Deed]]:
    """What a run did outside, by step."""
    found = defaultdict(list)
    for deed in site.deeds:
        if deed.run_id == run_id:
            found[deed.seq].append(deed)
    return found


def stored(run_id: UUID) -> dict[str, Any]:
    """All that is stored of a run, but for what its keeper and the sweep write while it lives."""
    run = Run.objects.filter(pk=run_id).values().get()
    for restless in "rung_at", "rings", "lease_until", "steps_done", "deaths":
        if not run["finished_at"]:
            run.pop(restless)
    nouns = {Step: "seq", StepPayload: "seq", Touch: "id", Approval: "id"}
    return {"run": run} | {
        noun.__name__: list(noun.objects.filter(run_id=run_id).order_by(key).values()) for noun, key in nouns.items()
    }


@pytest.fixture
def fate_hears() -> Iterator[None]:
    """Signals are sent where a driver may die as well."""

    def holding(**_: Any) -> None:
        site.meet("holding")

    def moving(state: str, **_: Any) -> None:
        if state in {"waiting", "paused", "queued"}:
            site.meet("letting go")

    signals.step_held.connect(holding)
    signals.run_changed.connect(moving, sender=Claim)
    yield
    signals.step_held.disconnect(holding)
    signals.run_changed.disconnect(moving, sender=Claim)


@pytest.fixture
def machine(olga: User, rhea: User, fate_hears: None) -> type[Machine]:
    Machine.olga, Machine.rhea = olga, rhea
    return Machine


PLANS = [["read", "post"], ["note"]], [["pay", "note"], ["read"]]


@pytest.mark.parametrize("meanwhile", [[None], [1], ["pause"], ["cancel"], ["freeze or thaw"], ["approve"]], ids=str)
def test_wherever_a_driver_stands_still_the_promises_are_kept(machine, meanwhile) -> None:
    for plan, nth in product(PLANS, range(1, 9)):
        one = machine()
        one.start(plan)
        one.drive_and_fall_asleep(0, nth, meanwhile)
        one.promises_are_kept()
        one.teardown()


def test_wherever_a_driver_dies_the_promises_are_kept(machine) -> None:
    for plan, nth in product(PLANS, range(1, 9)):
        one = machine()
        one.start(plan)
        one.drive(0, nth)
        one.promises_are_kept()
        one.teardown()


def test_whatever_happens_to_a_run_the_promises_are_kept(machine) -> None:
    steps = {"max_examples": 30, "stateful_step_count": 10, "deadline": None, "database": None}
    run_state_machine_as_test(machine, settings=settings(**steps, suppress_health_check=list(HealthCheck)))
