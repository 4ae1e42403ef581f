"""What we do beside what others do, on the same servers in the same sitting; only with `make bench PEERS=folder`.

Steps: 500 runs of 10 trivial steps by two processes of four threads, ours and the peers' in turn. Crash: 200 runs of
10 steps of 0.2 s, the worker killed and started again. The table of it goes to `var/bench/peers.json`.
"""

import json
import os
import platform
import statistics
import time
from collections import defaultdict
from dataclasses import asdict, dataclass

from cockpit.environment import ROOT
from tests.benchmarks import bench_crash, bench_steps
from tests.benchmarks.figures import Figure
from tests.benchmarks.peers import PeerError, Peers, peers

TABLE = ROOT / "var" / "bench" / "peers.json"
ROUNDS = 3
OURS, BARE = "this cockpit", "bare minimum"
SHAPE = ("--procs", "2", "--threads", "4", "--runs", "500")


@dataclass
class Row:
    """One system in the table; what was not measured is None, and `note` says why."""

    name: str
    how: str
    steps_per_second: float | None = None
    crash_s: float | None = None
    lost: int | None = None
    twice: int | None = None
    note: str = ""


def run() -> list[Figure]:
    """The figures that compare, and the table."""
    with peers() as others:
        if others is None:
            return []
        rows = {
            OURS: Row(OURS, "gates, ledger and audit on"),
            "dbos": Row("DBOS", "direct calls"),
            "langgraph": Row("LangGraph", "PostgresSaver, durability=sync"),
            "prefect": Row("Prefect", "in-process flows, persisted results, 100 runs"),
            "celery": Row("Celery", "chains over Redis, not durable; crash: acks_late, visibility timeout 20 s"),
            BARE: Row("bare minimum", "psycopg, one INSERT and COMMIT a step; recovers nothing"),
        }
        figures = steps(others, rows)
        crashes(others, rows)
    write(list(rows.values()))
    return figures


def steps(others: Peers, rows: dict[str, Row]) -> list[Figure]:
    """In turn, so that a neighbour's burst hits all; medians."""
    rates: dict[str, list[float]] = defaultdict(list)
    for _ in range(ROUNDS):
        numbers = [list(range(bench_steps.RUNS))[k :: bench_steps.PROCESSES] for k in range(bench_steps.PROCESSES)]
        rates[BARE].append(bench_steps.measure(bench_steps.insert_rows, numbers, before=bench_steps.make_table))
        shares = bench_steps.split(bench_steps.enqueue())
        rates[OURS].append(bench_steps.measure(bench_steps.drive_runs, shares, before=lambda: None))
        for peer in ("dbos", "langgraph"):
            if (rate := rate_of(others, rows[peer], peer, *SHAPE)) is not None:
                rates[peer].append(rate)
    if others.is_prefect_possible():
        rates["prefect"] += filter(None, [rate_of(others, rows["prefect"], "prefect", *SHAPE[:4], "--runs", "100")])
    else:
        rows["prefect"].note = "not measured: it needs a PostgreSQL with pg_trgm, which the bundled one lacks"
    rates["celery"] += filter(None, [rate_of(others, rows["celery"], "celery", "--procs", "2", "--runs", "500")])
    for name, found in rates.items():
        rows[name].steps_per_second = statistics.median(found) if found else None
    return [one for peer in ("langgraph", "dbos") for one in compared(rows[OURS], rows[peer], peer)]


def rate_of(others: Peers, row: Row, peer: str, *arguments: str) -> float | None:
    """Steps a second of a peer; a peer that cannot be measured has a row that says so."""
    try:
        return float(others.measure("steps", peer, *arguments)["steps_s"])
    except PeerError as error:
        row.note = str(error)
        return None


def compared(ours: Row, theirs: Row, peer: str) -> list[Figure]:
    """Ours over theirs, where both were measured."""
    if not ours.steps_per_second or not theirs.steps_per_second:
        return []
    names = {"langgraph": "steps.vs_langgraph", "dbos": "steps.vs_dbos"}
    how = (
        f"{ours.steps_per_second:,.0f} / {theirs.steps_per_second:,.0f} steps/s ({theirs.name}, {theirs.how}), "
        f"2 processes x 4 threads, medians of {ROUNDS} in turn"
    )
    return [Figure(names[peer], ours.steps_per_second / theirs.steps_per_second, "", 3.0, "higher", how)]


def crashes(others: Peers, rows: dict[str, Row]) -> None:
    """Ours, and those that go on by themselves."""
    ours, row = bench_crash.measure_crash(), rows[OURS]
    row.crash_s, row.lost, row.twice = ours.done_s, ours.lost, ours.repeated
    wanted = {
        "dbos": ("restart_to_all_done_s", ("--runs", "200", "--threads", "250")),
        "celery": ("restart_to_last_step_s", ("--runs", "200", "--vis", "20")),
    }
    for peer, (key, arguments) in wanted.items():
        row = rows[peer]
        try:
            told = others.measure("crash", peer, *arguments)
        except PeerError as error:
            row.note = str(error)
            continue
        row.crash_s, row.lost, row.twice = told[key], told["steps_lost"], told["steps_executed_twice"]


def write(rows: list[Row]) -> None:
    """The table of this sitting; no row is older than another."""
    sitting = {
        "at": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": f"{os.cpu_count()} processors, {memory_gb():.0f} GB, {platform.system()} {platform.machine()}",
        "load": round(os.getloadavg()[0], 2),
        "command": "make bench ONLY=peers PEERS=folder",
        "rows": [asdict(row) for row in rows],
    }
    TABLE.parent.mkdir(parents=True, exist_ok=True)
    TABLE.write_text(json.dumps(sitting, indent=1))


def memory_gb() -> float:
    """Of the whole machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
