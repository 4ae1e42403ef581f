"""`kill -9` of the only worker amid two hundred runs, and of everything Redis holds: how soon the work is done all the
same, and whether anything is lost."""

import time
from collections import Counter
from dataclasses import dataclass

import redis
from django.conf import settings

from agents import tasks
from agents.models import Run
from tests import fleet as fleets
from tests.benchmarks.figures import Figure
from tests.benchmarks.stage import Stage, moment, stage

RUNS, STEPS, STEP_S, DRIVERS = 200, 10, 0.2, 220
PATIENCE_S = 180.0
LOOK_S = 0.02  # oftener, and the looking takes a processor from what is looked at
FLUSHED_RUNS, FLUSHED_STEP_S = 48, 0.5


@dataclass(frozen=True)
class Crash:
    """From the restart: seconds to the first act and to the end of all; what was lost, and acts asked for again."""

    first_s: float
    done_s: float
    at_kill: int
    lost: int
    repeated: int


def run() -> list[Figure]:
    """One crash and one flush."""
    crash = measure_crash()
    how = (
        f"{RUNS} runs x {STEPS} steps of {STEP_S} s in one worker, killed after {crash.at_kill} acts; from its restart "
        f"to the end of all, first act after {crash.first_s:.1f} s; {crash.repeated} acts asked for twice, with the "
        "same key"
    )
    delay, usual = measure_flush()
    flush_how = (
        f"{FLUSHED_RUNS} runs for one worker of 16 drivers, all of Redis flushed while most are queued; how much later "
        f"than the {usual:.1f} s it takes otherwise"
    )
    return [
        Figure("crash.all_done_s", crash.done_s, "s", 6.0, "lower", how),
        Figure("crash.steps_lost", crash.lost, "", 0.0, "lower", f"of {RUNS * STEPS}"),
        Figure("redis_flush.delay_s", delay, "s", 10.0, "lower", flush_how),
    ]


def measure_crash() -> Crash:
    """Kill the worker at half, start it again."""
    with stage("tick", "model1", threads=DRIVERS) as on:
        notes = [("world.note", {"text": f"note {number}", "seconds": STEP_S}) for number in range(STEPS)]
        enqueue(fleets.pipeline("clerk", *notes), RUNS, on)
        moment(lambda: on.fleet.world.count() >= RUNS * STEPS / 2, "half of the acts", seconds=PATIENCE_S, every=LOOK_S)
        (worker,) = on.fleet.workers()
        worker.kill()
        at_kill = on.fleet.world.count()
        started = time.monotonic()
        on.fleet.start(worker.name)
        first = moment(lambda: on.fleet.world.count() > at_kill, "an act after the restart", every=LOOK_S) - started
        done = all_ended() - started
        acts = Counter((act.run, act.text) for act in on.fleet.world.acts())
    repeated = sum(times > 1 for times in acts.values())
    return Crash(first, done, at_kill, RUNS * STEPS - len(acts), repeated)


def measure_flush() -> tuple[float, float]:
    """The same work twice, with and without a flush in its middle: how much longer, and how long it takes otherwise."""
    with stage("tick", "model1") as on:
        clerk = fleets.pipeline("filer", ("world.note", {"text": "filed", "seconds": FLUSHED_STEP_S}))
        enqueue(clerk, 16, on)  # what a worker does for the first time takes longer
        all_ended()
        taken = []
        for flushed in (False, True):
            started = time.monotonic()
            enqueue(clerk, FLUSHED_RUNS, on)
            moment(lambda: Run.objects.filter(state=Run.State.RUNNING).count() >= 8, "runs in full swing")
            if flushed:
                with redis.Redis.from_url(settings.REDIS_URL) as box:
                    box.flushall()
            taken.append(all_ended() - started)
    return max(0.0, taken[1] - taken[0]), taken[0]


def enqueue(clerk: fleets.Made, number: int, on: Stage) -> None:
    """So many runs, ringing."""
    agent, release = clerk
    fields = {"agent": agent, "release": release, "team": agent.team, "queue": Run.Queue.MODEL, "started_by": on.olga}
    for one in Run.objects.bulk_create(Run(objective=f"file {place}", **fields) for place in range(number)):
        tasks.ring(one.pk, Run.Queue.MODEL)


def all_ended() -> float:
    """When the last run has."""
    return moment(lambda: not Run.objects.live().exists(), "the end of all runs", seconds=PATIENCE_S, every=LOOK_S)
