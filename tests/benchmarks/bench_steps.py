"""How many durable steps a second, beside the least that could be done: psycopg, one INSERT and COMMIT a step.

500 runs of 10 trivial steps through the real runner with the gates on, two processes of four threads; then the same
number of rows by bare psycopg with as many connections, on the same server in the same run. The clock is the one that
the scripts of our peers use: each process is connected, and ours has driven a run, when it starts; it stops when the
last run has ended, before the processes take themselves down.
"""

import json
import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from uuid import UUID

import psycopg

from tests.benchmarks.figures import Figure

PROCESSES, THREADS, RUNS, STEPS = 2, 4, 500, 10
PATIENCE_S = 600.0


def run() -> list[Figure]:
    """Alternate the two three times and compare medians, so that a neighbour's burst hits both."""
    ours, bare = [], []
    for _ in range(3):
        numbers = [list(range(RUNS))[k::PROCESSES] for k in range(PROCESSES)]
        bare.append(measure(insert_rows, numbers, before=make_table))
        ours.append(measure(drive_runs, split(enqueue()), before=lambda: None))
    rate, least = sorted(ours)[1], sorted(bare)[1]
    how = f"{RUNS} runs x {STEPS} steps, {PROCESSES} processes x {THREADS} threads, median of 3"
    return [
        Figure("steps.per_second", rate, "steps/s", None, "higher", how),
        Figure("steps.minimum_per_second", least, "steps/s", None, "higher", "psycopg, INSERT and COMMIT per step"),
        Figure("steps.ratio_to_minimum", rate / least, "", 0.3, "higher", f"{rate:,.0f} / {least:,.0f} steps/s"),
    ]


def split(ids: list[UUID]) -> list[list[UUID]]:
    """Shares for the processes."""
    return [ids[k::PROCESSES] for k in range(PROCESSES)]


def measure(work: Callable[..., None], shares: list[list], *, before: Callable[[], None]) -> float:  # type: ignore[type-arg]
    """Steps a second of `work` on every share, one process each, from the moment all are ready until all are done."""
    before()
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(len(shares) + 1, timeout=PATIENCE_S)
    processes = [context.Process(target=work, args=(share, barrier)) for share in shares]
    for process in processes:
        process.start()
    barrier.wait()
    started = time.perf_counter()
    barrier.wait()
    seconds = time.perf_counter() - started
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        raise SystemExit("a benchmark process failed; see its message above")
    return RUNS * STEPS / seconds


def in_threads(work: Callable[[list], None], share: list, barrier: object) -> None:  # type: ignore[type-arg]
    """Run a share in threads that start together, and say when all are done."""
    threads = [threading.Thread(target=work, args=(share[k::THREADS],)) for k in range(THREADS)]
    barrier.wait()  # type: ignore[attr-defined]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    barrier.wait()  # type: ignore[attr-defined]


# --- the least -----------------------------------------------------------------------------------------------------
def make_table() -> None:
    """Two plain tables."""
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as conn:
        conn.execute("DROP TABLE IF EXISTS bare_run, bare_step")
        conn.execute("CREATE TABLE bare_run (id bigint PRIMARY KEY, status text, finished timestamptz)")
        conn.execute(
            "CREATE TABLE bare_step (run_id bigint, seq int, name text, output jsonb, at timestamptz DEFAULT now(),"
            " PRIMARY KEY (run_id, seq))"
        )


def insert_rows(share: list[int], barrier: object) -> None:
    """One INSERT and COMMIT a step, and one each for a run's beginning and end."""

    links = [psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) for _ in range(THREADS)]

    def work(ids: list[int]) -> None:
        with links.pop() as conn:
            for number in ids:
                conn.execute("INSERT INTO bare_run (id, status) VALUES (%s, 'running')", (number,))
                for seq in range(STEPS):
                    output = json.dumps({"step": seq, "ok": True})
                    conn.execute(
                        "INSERT INTO bare_step (run_id, seq, name, output) VALUES (%s, %s, %s, %s)",
                        (number, seq, f"step{seq}", output),
                    )
                conn.execute("UPDATE bare_run SET status = 'done', finished = now() WHERE id = %s", (number,))

    in_threads(work, share, barrier)


# --- ours ----------------------------------------------------------------------------------------------------------
def enqueue() -> list[UUID]:
    """Runs of a ten-step pipeline, queued as `starting.start` leaves them and not yet driven; one more a process."""
    from agents.models import Agent, Release, Run, Team
    from agents.registry import programs

    team, _ = Team.objects.get_or_create(slug="bench", defaults={"name": "Bench"})
    agent, _ = Agent.objects.get_or_create(slug="bench", defaults={"name": "Bench", "team": team})
    stage = {"tool": "test.echo", "arguments": {"text": "ok"}}
    bundle = {"program": "pipeline", "tools": ["test.echo"], "pipeline": [stage] * STEPS, "limits": {"steps": 50}}
    release, _ = Release.objects.get_or_create(
        agent=agent, version="1", defaults={"digest": "bench", "program": "pipeline", "bundle": bundle}
    )
    whose = {"agent": agent, "release": release, "team": team, "program_digest": programs.program_digest(release)}
    runs = [Run(**whose, objective="ten steps", queue="tool") for _ in range(RUNS + PROCESSES)]
    return [run.pk for run in Run.objects.bulk_create(runs)]


def drive_runs(share: list[UUID], barrier: object) -> None:
    """A worker's drivers, without the courier between them. The first run of a share is driven before the clock."""
    import django

    django.setup()
    from agents.runs import hotpath, runner
    from tests import toolbox

    assert toolbox.echo
    hotpath.pool().wait()
    runner.drive(share[0])
    in_threads(lambda ids: [runner.drive(run_id) for run_id in ids] and None, share[1:], barrier)
