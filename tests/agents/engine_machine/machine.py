"""The machine: one agent, a few runs, drivers that die and sleep, and everybody who has something to say about them."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, ClassVar
from uuid import UUID

from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone
from hypothesis import currently_in_test_context, note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from uuid_utils.compat import uuid7

from agents import errors, signals
from agents.llm import breakers
from agents.models import Run, Step, StepPayload, User
from agents.runs import interventions, overriding, recovery, rollups
from agents.runs.keeper import keeper
from approvals.decisions import decide
from approvals.models import Approval
from tests import factories
from tests.agents.engine_machine import promises, record, world
from tests.agents.engine_machine.drivers import Fate, Sleeper, drive

TUNED = ["note", "lose", "post", "busy", "order"]
MOST_DAYS = 80
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
WISHES: dict[str, Callable[..., Any]] = {
    verb.__name__: verb for verb in (interventions.pause, interventions.resume, interventions.cancel)
}

asks = st.lists(st.sampled_from([*world.TOOLS, "stray", "model", *world.BACK, *world.BACK]), min_size=1, max_size=3)
plans = st.lists(asks | asks | st.just(["wait"]), min_size=3, max_size=6)
lines = st.builds(lambda dozens, rest: 40 * dozens + rest, st.integers(0, 7), st.integers(1, 40))
which = st.integers(0, 2)
clockwork = st.deferred(lambda: st.sampled_from(["sweep", "tick", *KEEPING, *MOMENTS]))


class Machine(RuleBasedStateMachine):
    """What happens, in any order. After every move the promises are looked at."""

    olga: ClassVar[User]
    rhea: ClassVar[User]

    def __init__(self) -> None:
        super().__init__()
        self.agent = factories.agent(of=self.olga.memberships.get().team)
        self.asleep: list[Sleeper] = []
        self.said: list[tuple[Callable[..., Any], Any, UUID]] = []
        self.answered: list[tuple[Approval, dict[str, Any]]] = []
        world.forget()
        breakers.forget()
        # Of a story that was broken off: nothing of it may meddle with this one.
        Run.objects.live().update(state="cancelled", finished_at=timezone.now(), wake_at=None, asked="")
        self.promises = promises.Promises(self.agent)

    # --- runs and their drivers --------------------------------------------------------------------------------------
    @initialize(plan=plans, has_deadline=st.booleans())
    def start(self, plan: list[list[str]], has_deadline: bool = False) -> None:
        tools = [f"world.{what}" for what in world.TOOLS]
        program = f"{world.__name__}:Shift"
        release = factories.release(self.agent, program=program, turns=plan, tools=tools, limits={})
        deadline = timezone.now() + timedelta(days=1) if has_deadline else None
        factories.run(self.agent, by=self.olga, release=release, queue="tool", deadline_at=deadline)

    @precondition(lambda self: self.promises.live < 2)
    @rule(plan=plans, has_deadline=st.booleans())
    def start_another(self, plan: list[list[str]], has_deadline: bool) -> None:
        self.start(plan, has_deadline)

    @precondition(lambda self: self.promises.live)
    @rule(which=which, is_late=st.booleans(), ends=st.booleans())
    def drive(self, which: int, is_late: bool, ends: bool) -> None:
        """A message reaches a worker, perhaps one that is asked to end; a late one finds every lease run out."""
        self.take(self.pick(which), None, is_late=is_late, ends=ends)

    @precondition(lambda self: self.promises.live)
    @rule(which=which, line=lines, is_late=st.booleans())
    def drive_and_die(self, which: int, line: int, is_late: bool) -> None:
        self.take(self.pick(which), Fate(line), is_late=is_late)

    def take(self, run: Run, fate: Fate | None, *, is_late: bool = True, ends: bool = False) -> None:
        if is_late:
            run_out(run.pk)
        is_free, place = can_be_taken(run.pk), record.mark()
        drive(run.pk, fate, ends=ends)
        if fate and fate.place:
            tell(f"died at {fate.place}")
        assert is_free or not record.since(place), "a second ring of a run that is driven changes nothing"

    @precondition(lambda self: self.promises.live and len(self.asleep) < 2)
    @rule(which=which, line=lines, is_late=st.booleans())
    def fall_asleep(self, which: int, line: int, is_late: bool) -> None:
        """A driver stands still while everything else goes on."""
        run = self.pick(which)
        if is_late:
            run_out(run.pk)
        sleeper = Sleeper(run.pk, line)
        if sleeper.fall_asleep():
            sleeper.token = Run.objects.get(pk=run.pk).lease_token
            self.asleep.append(sleeper)
            tell(f"asleep at {sleeper.fate.place}")

    @precondition(lambda self: self.asleep)
    @rule(which=which)
    def wake(self, which: int) -> None:
        """It goes on as if nothing had happened."""
        sleeper = self.asleep.pop(which % len(self.asleep))
        is_fenced = sleeper.token != Run.objects.get(pk=sleeper.run_id).lease_token
        place = record.mark()
        sleeper.wake()
        assert not is_fenced or not record.since(place), "a fenced driver changes nothing"

    # --- what the clock does -----------------------------------------------------------------------------------------
    @precondition(lambda self: self.promises.live)
    @rule(which=which, what=clockwork)
    def time_passes(self, which: int, what: str) -> None:
        if what == "sweep":
            self.sweep()
        elif what == "tick":
            rollups.roll_up()
        elif what in KEEPING:
            getattr(keeper(), what)()
        else:
            MOMENTS[what](self.pick(which).pk)

    def sweep(self) -> None:
        """Every message was lost: whoever can go on is rung, and nobody else."""
        expected = set(drivable().values_list("pk", flat=True))
        assert self.rung() == expected

    def rung(self) -> set[UUID]:
        rung: set[UUID] = set()

        def hear(run_id: UUID, **_: Any) -> None:
            rung.add(run_id)

        signals.run_ready.connect(hear)
        try:
            recovery.sweep(patience=0)
        finally:
            signals.run_ready.disconnect(hear)
        return rung

    # --- what people want --------------------------------------------------------------------------------------------
    @precondition(lambda self: self.promises.live)
    @rule(which=which, wish=st.sampled_from([*sorted(WISHES), "freeze or thaw"]))
    def speak(self, which: int, wish: str) -> None:
        if wish in WISHES:
            self.say(WISHES[wish], self.pick(which), uuid7())
        else:
            self.agent.refresh_from_db()
            self.say(interventions.thaw if self.agent.frozen_at else interventions.freeze, self.agent, uuid7())

    @precondition(lambda self: self.promises.live)
    @rule(which=which, tool=st.sampled_from(TUNED))
    def tune(self, which: int, tool: str) -> None:
        """Somebody wants to be asked about a tool, or no longer."""
        run, parameter = self.pick(which), f"tiers.world.{tool}"
        if any(one.parameter == parameter for one in overriding.in_force(run)):
            overriding.revert(run, parameter=parameter, by=self.olga, request_id=uuid7())
        else:
            self.say(partial(overriding.override, parameter=parameter, value=3, expires_at=None), run, uuid7())

    def say(self, verb: Callable[..., Any], about: Any, request_id: UUID) -> Any:
        """Press a button; what is refused changes nothing."""
        place = record.mark()
        about = type(about).objects.get(pk=about.pk)
        try:
            control = verb(about, by=self.olga, reason="I want it so.", request_id=request_id)
        except errors.Conflict:
            assert not record.since(place), "what is refused changes nothing"
            return None
        self.said.append((verb, about, request_id))
        return control

    @precondition(lambda self: self.said)
    @rule(which=st.integers(0, 9), wish=st.none() | st.sampled_from(sorted(WISHES)))
    def press_again(self, which: int, wish: str | None) -> None:
        """The same request comes once more, or its id is used for something else: neither changes anything."""
        verb, about, request_id = self.said[which % len(self.said)]
        crossed = verb if isinstance(verb, partial) else WISHES.get(wish or "", verb)
        place = record.mark()
        if crossed is not verb:
            about = self.pick(which)
        control = self.say(crossed, about, request_id)
        assert not record.since(place)
        assert (control is None) is (crossed is not verb)

    @precondition(lambda self: self.promises.asked)
    @rule(which=which, answer=st.sampled_from(["approve", "edit", "reject"]))
    def answer(self, which: int, answer: str) -> None:
        questions = self.questions()
        self.settle(questions[which % len(questions)], answer)

    def settle(self, question: Approval, answer: str) -> None:
        """Decide; about an act in doubt somebody looks at what really happened, and letters are posted by hand."""
        more: dict[str, Any] = {}
        if answer != "reject" and question.kind == Approval.Kind.IN_DOUBT:
            answer = "outcome" if world.deeds_of(question.run_id, question.seq) else "absent"
        elif answer != "reject" and question.is_manual:
            answer = "outcome"
        if answer == "outcome":
            more = {"outcome": {"text": "I saw it."}}
        elif answer == "edit":
            more = {"arguments": {"text": f"{question.arguments['text']}, edited"}}
        given = {"answer": answer, "reason": "I looked.", "by": self.rhea, "request_id": uuid7(), **more}
        decide(question, **given)
        self.answered.append((question, given))

    @precondition(lambda self: self.answered)
    @rule(which=st.integers(0, 9), is_same=st.booleans())
    def answer_again(self, which: int, is_same: bool) -> None:
        """A double click, or somebody who comes too late."""
        question, given = self.answered[which % len(self.answered)]
        place = record.mark()
        try:
            decide(question, **given | ({} if is_same else {"request_id": uuid7()}))
            assert is_same
        except errors.Conflict:
            assert not is_same
        assert not record.since(place)

    # --- what is promised --------------------------------------------------------------------------------------------
    @invariant()
    def promises_are_kept(self) -> None:
        self.promises.are_kept()

    def teardown(self) -> None:
        """Left in peace, with every message lost: everything ends, in bounded work."""
        try:
            while self.asleep:
                self.wake(0)
                self.promises_are_kept()
        finally:
            for sleeper in self.asleep:
                sleeper.wake()
        self.agent.refresh_from_db()
        if self.agent.frozen_at:
            self.say(interventions.thaw, self.agent, uuid7())
        for _ in range(MOST_DAYS):
            if self.runs().live().exists():
                self.do_a_days_work()
        for run in self.runs():
            promises.it_has_ended_well(run)
        promises.minutes_agree(self.agent)

    def do_a_days_work(self) -> None:
        """What people and workers do when nothing goes wrong."""
        for run in self.runs().live():
            if run.state == "paused":
                self.say(interventions.resume, run, uuid7())
            run_out(run.pk)
            let_a_moment_come(run.pk)
        for question in self.questions():
            self.settle(question, "approve")
        for run_id in sorted(self.rung()):
            drive(run_id)
        self.promises_are_kept()

    # --- looking -----------------------------------------------------------------------------------------------------
    def runs(self) -> Any:
        return Run.objects.filter(agent=self.agent).select_related("release", "agent").order_by("id")

    def pick(self, which: int) -> Run:
        """One of the runs, rather one that still lives."""
        found = list(self.runs().live()) or list(self.runs())
        return found[which % len(found)]

    def questions(self) -> list[Approval]:
        return list(Approval.objects.filter(agent=self.agent).open().order_by("id"))


def tell(what: str) -> None:
    """Part of the story, for whoever reads it because it ended badly."""
    (note if currently_in_test_context() else print)(what)


def run_out(run_id: UUID) -> None:
    """Let the time of a lease pass, whoever has it."""
    Run.objects.filter(pk=run_id, lease_until__isnull=False).update(lease_until=LONG_AGO)


def let_a_moment_come(run_id: UUID) -> None:
    """What the run waits for by the clock is due, by its row and by its history."""
    Run.objects.filter(pk=run_id, wake_at__isnull=False).update(wake_at=LONG_AGO)
    Step.objects.filter(run=run_id, due_at__isnull=False).update(due_at=LONG_AGO)
    StepPayload.objects.filter(run=run_id, input__has_key="until").update(input={"until": LONG_AGO.isoformat()})


def overdue(run_id: UUID) -> None:
    """Its deadline passes, and the tick looks."""
    Run.objects.live().filter(pk=run_id, deadline_at__isnull=False).update(deadline_at=LONG_AGO)
    interventions.overdue()


def drivable() -> Any:
    """Runs that a worker should look at."""
    is_idle = Q(state__in=Run.DRIVEN) & (Q(lease_until=None) | Q(lease_until__lt=Now()))
    is_heard = Q(agent__frozen_at=None) | ~Q(asked="")
    return Run.objects.filter(is_heard & (Q(state="queued") | is_idle) | Q(state="waiting", wake_at__lte=Now()))


def can_be_taken(run_id: UUID) -> bool:
    return drivable().filter(pk=run_id).exclude(state="waiting").exists()


# Where a driver stands still because its tool is slow, the keeper of its process does not; nor does the end of that.
KEEPING = ["_renew", "give_up", "hand_back"]
MOMENTS = {"lease runs out": run_out, "moment comes": let_a_moment_come, "deadline passes": overdue}
