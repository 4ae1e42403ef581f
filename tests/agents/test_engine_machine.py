"""Whatever happens to runs, in whatever order, the engine keeps its promises; and once left in peace every run ends.

The stories are the same at every `make test`, so that a red one is news about the change at hand. New ones are told by
`HYPOTHESIS_PROFILE=long`, for minutes, as many as `ENGINE_STORIES` says.
"""

import os
from collections.abc import Callable, Iterator
from itertools import product

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from agents.models import User
from agents.runs import gates, hotpath, keeper, programs, retrying, runner
from tests.agents.engine_machine import record, world
from tests.agents.engine_machine.machine import Machine

pytestmark = pytest.mark.django_db(transaction=True)

IS_LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
STORIES = int(os.environ.get("ENGINE_STORIES", "300" if IS_LONG else "12"))
TOLD = settings(
    max_examples=STORIES,
    stateful_step_count=30 if IS_LONG else 20,
    derandomize=not IS_LONG,
    print_blob=IS_LONG,
    deadline=None,
    database=None,
    phases=set(Phase) - {Phase.explain},  # which would watch the same lines as the fates do
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture
def machine(olga: User, rhea: User, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Machine]]:
    """A fleet in which nothing depends on the clock: leases end when the story says so, turns are taken early."""
    monkeypatch.setattr(hotpath, "LEASE_SECONDS", 3600)
    monkeypatch.setattr(runner, "YIELD_STEPS", 3)
    monkeypatch.setattr(retrying, "FIRST_S", 3600.0)
    monkeypatch.setattr(retrying, "LONGEST_S", 3600.0)
    monkeypatch.setattr(runner, "SHORT_REST_S", 0.0)
    keeper.keeper().close()  # its thread ends: whoever stands still renews nothing
    gates.gates(), programs.load(f"{world.__name__}:Shift")
    record.begin()
    Machine.olga, Machine.rhea = olga, rhea
    yield Machine
    record.end()
    keeper.close()


def test_whatever_happens_to_a_run_the_promises_are_kept(machine) -> None:
    run_state_machine_as_test(machine, settings=TOLD)


PLANS = [["read", "post"], ["note"]], [["pay", "model"], ["miss"]]
EVERY = 7 if IS_LONG else 67  # lines; between two commits there are dozens
MEANWHILE: dict[str, list[Callable[[Machine], None]]] = {
    "nothing": [],
    "another driver": [lambda one: one.drive(0, is_late=True, ends=False)],
    "another one dies": [lambda one: one.drive_and_die(0, line=200, is_late=True)],
    "pause": [lambda one: one.speak(0, "pause")],
    "cancel": [lambda one: one.speak(0, "cancel")],
    "freeze": [lambda one: one.speak(0, "freeze or thaw")],
    "a lost lease, then cancel": [lambda one: one.time_passes(0, "lease runs out"), lambda one: one.speak(0, "cancel")],
}


@pytest.mark.parametrize("meanwhile", MEANWHILE)
def test_wherever_a_driver_stands_still_the_promises_are_kept(machine, meanwhile) -> None:
    for plan, line in product(PLANS, range(1, 420, EVERY)):
        one = machine()
        one.start(plan)
        one.fall_asleep(0, line, is_late=True)
        for happen in MEANWHILE[meanwhile]:
            happen(one)
            one.promises_are_kept()
        one.teardown()


def test_wherever_a_driver_dies_the_promises_are_kept(machine) -> None:
    for plan, line in product(PLANS, range(1, 420, EVERY)):
        one = machine()
        one.start(plan)
        one.drive_and_die(0, line, is_late=True)
        one.promises_are_kept()
        one.teardown()


@pytest.mark.parametrize("fate", ["dies", "sleeps", "sleeps while it is paused"])
def test_wherever_a_driver_is_struck_that_takes_acts_back_the_promises_are_kept(machine, fate) -> None:
    for line in range(1, 800, EVERY):
        one = machine()
        one.start([["order"], ["rent", "order"], ["wait"]])
        one.drive(0, is_late=False, ends=False)
        one.speak(0, "cancel")
        if fate == "dies":
            one.drive_and_die(0, line, is_late=True)
        else:
            one.fall_asleep(0, line, is_late=True)
            one.speak(0, "pause") if "paused" in fate else one.drive(0, is_late=True, ends=False)
        one.promises_are_kept()
        one.teardown()
