"""A thousand runs at once, each waiting for its model: how much of the bare calls' rate is left with the engine around.

Real Celery workers on threads, with gates, ledger and audit; the bare calls are made in the same sitting by as many
processes, through the same library, as many at once, and remember nothing.
"""

import multiprocessing
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from uuid_utils.compat import uuid7

from agents import tasks
from agents.contracts import Json
from agents.models import Agent, Release, Run, Step
from tests import fleet as fleets
from tests.benchmarks import interview
from tests.benchmarks.figures import Figure
from tests.benchmarks.stage import Stage, stage

RUNS, QUESTIONS, SECONDS, WORKERS = 1000, 5, 2.0, 2
WARMING = 100
PATIENCE_S = 600.0


def run() -> list[Figure]:
    """Bare, ours, bare: a neighbour's burst shows in how far the two bare ones lie apart."""
    with interview.model(SECONDS) as model:
        link = {"provider": "loopback", "model": "slow", "base_url": model.url}
        bare = [measure_bare(link)]
        model.served()
        names = (f"model{number}" for number in range(1, WORKERS + 1))
        with stage("tick", *names, threads=RUNS // WORKERS) as on:
            ours, memory = measure_engine(link, on)
        most = model.served().most_at_once
        bare.append(measure_bare(link))
    least = sum(bare) / 2
    how = (
        f"{ours:.0f} / {least:.0f} model steps/s (bare {bare[0]:.0f} before and {bare[1]:.0f} after); {RUNS} runs x "
        f"{QUESTIONS} questions of {SECONDS:.0f} s, {most} at once at most, {WORKERS} workers of {RUNS // WORKERS} "
        f"threads, {os.cpu_count()} processors"
    )
    return [
        Figure("inflight.ratio_to_bare", ours / least, "", 0.7, "higher", how),
        Figure("inflight.steps_per_second", ours, "steps/s", None, "higher", "model steps, each of them two commits"),
        Figure(
            "inflight.memory_mb",
            memory,
            "MB",
            1500.0,
            "lower",
            f"all {WORKERS} workers together, PSS, at most meanwhile",
        ),
    ]


def measure_bare(link: Json) -> float:
    """Calls a second without the engine."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(WORKERS + 1)
    share = (link, RUNS // WORKERS, QUESTIONS, barrier)
    processes = [context.Process(target=interview.ask_bare, args=share, daemon=True) for _ in range(WORKERS)]
    try:
        for process in processes:
            process.start()
        barrier.wait(120)
        started = time.monotonic()
        for process in processes:
            process.join(PATIENCE_S)
        seconds = time.monotonic() - started
        if any(process.exitcode != 0 for process in processes):
            raise SystemExit("A process of bare calls failed or did not end; see its message above.")
    finally:
        for process in processes:
            process.kill()
    return RUNS * QUESTIONS / seconds


def measure_engine(link: Json, on: Stage) -> tuple[float, float]:
    """Model steps a second from the first ring to the end of the last run, and the most memory in MB meanwhile."""
    agent, release = fleets.agent(f"asker-{uuid7()}"[:40], program=interview.PROGRAM, models=[link], limits={})
    interviews = partial(interviewed, agent, release)
    interviews(WARMING, questions=1)  # until every worker has loaded what it needs, as the bare ones have
    sizes: list[float] = []
    seconds = interviews(
        RUNS, questions=QUESTIONS, look=lambda: sizes.append(sum(pss_mb(worker.pid) for worker in on.fleet.workers()))
    )
    return RUNS * QUESTIONS / seconds, max(sizes)


def interviewed(
    agent: Agent, release: Release, count: int, *, questions: int, look: Callable[[], None] = lambda: None
) -> float:
    """Seconds from the first ring to the end of the last of so many runs; each of their steps is then stored. Every two
    seconds somebody looks, not more often: the kernel counts a worker's pages for 20 ms."""
    fields = {"agent": agent, "release": release, "team": agent.team, "queue": Run.Queue.MODEL}
    runs = Run.objects.bulk_create(
        Run(objective=f"file {number}", input={"questions": questions}, **fields) for number in range(count)
    )
    mine = Run.objects.filter(pk__in=[one.pk for one in runs])
    started = looked = time.monotonic()
    for one in runs:
        tasks.ring(one.pk, Run.Queue.MODEL)
    while Run.objects.filter(agent=agent).live().exists():
        if time.monotonic() > looked + 2:
            looked = time.monotonic()
            look()
        assert time.monotonic() < started + PATIENCE_S, f"Not within {PATIENCE_S:.0f} s: the end of {count} runs."
        time.sleep(0.25)
    seconds = time.monotonic() - started
    failed = mine.exclude(state=Run.State.COMPLETED).first()
    assert failed is None, f"{failed} ended {failed and failed.state}: {failed and failed.failure}"
    done = Step.objects.filter(run__in=mine, kind=Step.Kind.MODEL, state=Step.State.DONE).count()
    assert done == count * questions, f"{done} model steps are stored, not {count * questions}"
    return seconds


def pss_mb(pid: int) -> float:
    """What a process has in memory, shared pages counted in proportion; 0 where the system does not tell."""
    rollup = Path(f"/proc/{pid}/smaps_rollup")
    lines = rollup.read_text().splitlines() if rollup.exists() else []
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
