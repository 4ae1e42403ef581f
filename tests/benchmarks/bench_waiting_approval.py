"""Ten thousand runs that wait for a person: what they hold, and how soon one of them goes on once somebody has decided.

A resume is timed from the call of `decide` to the act it allows, in a worker, with all the others still waiting. What
each driver of a worker does for the first time is not counted.
"""

import time

from uuid_utils.compat import uuid7

from agents import tasks
from agents.models import Run, Worker
from approvals.decisions import decide
from approvals.models import Approval
from tests import fleet as fleets
from tests.benchmarks.bench_inflight import pss_mb
from tests.benchmarks.figures import Figure, percentile
from tests.benchmarks.stage import Stage, moment, stage

FIRST, RUNS, DECISIONS = 500, 10_000, 200
WARM_UP = 20
PATIENCE_S = 1200.0
BILL = ("world.pay", {"text": "{objective}"})


def run() -> list[Figure]:
    """Suspend them through the engine, look at what they hold, then decide one after the other."""
    with stage("tick", "model1", "model2") as on:
        payer = fleets.pipeline("payer", BILL, ("world.look", {"text": "paid"}))
        suspend(payer, FIRST, on)
        before = memory(on)
        started = time.monotonic()
        suspend(payer, RUNS - FIRST, on)
        seconds = time.monotonic() - started
        held, grown = processes_held(), memory(on) - before
        questions = Approval.objects.open().order_by("?")[: WARM_UP + DECISIONS]
        resumes = [resumed(question, on) for question in questions][WARM_UP:]
    held_how = (
        f"leases and drivers, {RUNS:,} runs waiting for approval; suspended at {(RUNS - FIRST) / seconds:.0f} a second"
    )
    resume_how = (
        f"p50 {percentile(resumes, 0.5) * 1000:.1f}, max {max(resumes) * 1000:.1f}; {DECISIONS} decisions one by one, "
        f"{RUNS:,} runs suspended at first; from the call to the act in a worker"
    )
    grown_how = f"both workers together, PSS, from {FIRST:,} waiting runs to {RUNS:,}; they had {before:.0f} MB before"
    return [
        Figure("waiting.processes_held", held, "", 0.0, "lower", held_how),
        Figure("waiting.memory_growth_mb", grown, "MB", 20.0, "lower", grown_how),
        Figure("approval.resume_p95_ms", percentile(resumes, 0.95) * 1000, "ms", 30.0, "lower", resume_how),
    ]


def suspend(payer: fleets.Made, number: int, on: Stage) -> None:
    """Start so many runs and wait until each of them waits for a person."""
    agent, release = payer
    fields = {"agent": agent, "release": release, "team": agent.team, "queue": Run.Queue.MODEL, "started_by": on.olga}
    runs = Run.objects.bulk_create(Run(objective=f"bill {place}", **fields) for place in range(number))
    for one in runs:
        tasks.ring(one.pk, Run.Queue.MODEL)
    under_way = Run.objects.filter(state__in=[Run.State.QUEUED, Run.State.RUNNING])
    moment(lambda: not under_way.exists(), "that all runs wait for a person", seconds=PATIENCE_S, every=0.05)


def processes_held() -> int:
    """How many of the waiting runs somebody drives, and how many drivers say that they are busy."""
    time.sleep(5)  # workers say so every two seconds
    leased = Run.objects.filter(state=Run.State.WAITING).exclude(lease_until=None).count()
    return leased + sum(Worker.objects.filter(kind="worker").values_list("driving", flat=True))


def memory(on: Stage) -> float:
    """What all workers have in memory."""
    return sum(pss_mb(worker.pid) for worker in on.fleet.workers())


def resumed(question: Approval, on: Stage) -> float:
    """Decide one question; the seconds until the act."""
    before = on.fleet.world.count()
    started = time.time()
    decide(question, answer="approve", reason="It is right.", by=on.rhea, request_id=uuid7())
    moment(lambda: on.fleet.world.count() > before, "the act that was allowed")
    act = on.fleet.world.acts()[before]
    assert act.run == str(question.run_id)
    moment(lambda: not Run.objects.filter(pk=question.run_id, state=Run.State.RUNNING).exists(), "the end of the run")
    return act.at - started
