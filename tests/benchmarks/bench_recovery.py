"""How soon the runs of a dead worker are driven again: `kill -9` of one of two, and its restart as the supervisor does.

The slowest of its runs counts: from the kill until another process holds it.
"""

import time

from agents.models import Run
from cockpit import supervisor
from tests import fleet as fleets
from tests.benchmarks.figures import Figure
from tests.benchmarks.stage import Stage, moment, stage

ROUNDS, RUNS, STEPS = 3, 24, 400


def run() -> list[Figure]:
    """The worst of several kills, each at another moment between two renewals of a lease."""
    with stage("tick", "model1", "model2") as on:
        clerk = fleets.pipeline("clerk", *[("world.look", {"text": "a", "seconds": 0.5})] * STEPS)
        for number in range(RUNS):
            fleets.start(clerk, f"file {number}", by=on.olga)
        rounds = [killed(on, after=0.7 * number) for number in range(ROUNDS)]
    worst = max(seconds for seconds, _ in rounds)
    held = ", ".join(f"{seconds:.1f} s for {runs}" for seconds, runs in rounds)
    how = f"{ROUNDS} kills of one of two workers, {RUNS} runs in flight; until the last of its runs is driven: {held}"
    return [Figure("recovery.dead_worker_s", worst, "s", 15.0, "lower", how)]


def killed(on: Stage, *, after: float) -> tuple[float, int]:
    """Kill the worker that holds more; the seconds until all of its runs are held by others, and how many they were."""
    driven = Run.objects.filter(state=Run.State.RUNNING, lease_until__isnull=False)
    moment(lambda: sum(len(worker.holds()) for worker in on.fleet.workers()) == RUNS, "that all runs are driven")
    time.sleep(after)
    victim = max(on.fleet.workers(), key=lambda worker: len(worker.holds()))
    victim.kill()
    started = time.monotonic()
    held = {run.pk for run in victim.holds()}
    assert held, "it was to die at work"
    time.sleep(supervisor.FIRST_PAUSE)
    on.fleet.start(victim.name)
    holder = victim.holder
    moment(
        lambda: driven.filter(pk__in=held).exclude(lease_holder__startswith=holder).count() == len(held),
        "that others drive its runs",
    )
    return time.monotonic() - started, len(held)
