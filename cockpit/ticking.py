"""The tick: what happens because time passes. Any number of ticks may run; every job shares its work by row locks.

Most jobs take turns in one thread. Those that people are promised within a second have a thread each, so that no other
job can make them late.
"""

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import psycopg
from django.db import connection
from psycopg.rows import TupleRow

from agents.audit import sealing
from agents.runs import elsewhere, hotpath, interventions, overriding, recovery, rollups, withdrawing
from approvals import claiming
from approvals.bulk import jobs
from approvals.escalation import firing, opening
from approvals.learning import autonomy, watching
from approvals.notify import posting
from approvals.outside import unused
from approvals.policies import trying
from approvals.sampling import drawing
from cockpit.brambleway import work

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """Something to do every so many seconds; `alone` in a thread of its own."""

    name: str
    every: float
    work: Callable[[], int]
    alone: bool = False


JOBS = (
    Job("dead drivers", 2.0, recovery.release_dead),
    Job("lost messages", 2.0, recovery.ring_again),
    Job("sweep", 2.0, recovery.sweep),
    Job("deadlines", 2.0, interventions.overdue),
    Job("delegated runs", 2.0, withdrawing.withdraw_orphans),
    Job("overrides", 2.0, overriding.expire),
    Job("samples", 5.0, drawing.draw),
    Job("claims", 5.0, claiming.expire),
    Job("autonomy", 2.0, watching.watch, alone=True),
    Job("proposals", 600.0, autonomy.consider),
    Job("held calls", 2.0, unused.withdraw),
    Job("idle sessions", 60.0, elsewhere.end_idle),
    Job("bulk decisions", 5.0, jobs.ring_again),
    Job("rollups", 2.0, rollups.roll_up),
    Job("escalations", 0.5, firing.fire, alone=True),
    Job("clocks", 5.0, opening.adopt),
    Job("seals", 10.0, sealing.seal),
    Job("notifications", 1.0, posting.work, alone=True),
    Job("old notifications", 60.0, posting.forget),
    Job("old differences", 60.0, trying.forget),
)


SIGN_SECONDS, SHORTEST_WAIT = 1.0, 0.05


DEMO = Job("brambleway", 9.0, work.arrive)
"""Only where the demo fleet is: something new comes in."""


@dataclass(frozen=True, slots=True)
class Done:
    """How a job went: seconds after it was due, seconds it took, how often it failed since that was last told."""

    late: float
    took: float
    failures: int


NOTE = """
INSERT INTO agents_tickjob (name, ran_at, late_s, took_s, failures)
VALUES (%(name)s, now(), %(late)s, %(took)s, %(failures)s)
ON CONFLICT (name) DO UPDATE SET ran_at = now(), late_s = EXCLUDED.late_s, took_s = EXCLUDED.took_s,
    failures = agents_tickjob.failures + EXCLUDED.failures
"""


def tick(stopping: threading.Event, jobs: Sequence[Job] = JOBS) -> None:
    """Run every job when it is due until told to stop; one that fails is logged and tried again, the others go on. Once
    this returns, no job is under way."""
    beside = [threading.Thread(target=_keep, args=(stopping, [job]), name=job.name) for job in jobs if job.alone]
    for thread in beside:
        thread.daemon = True  # what waits for a server that does not answer keeps no process alive
        thread.start()
    try:
        _keep(stopping, [job for job in jobs if not job.alone], sign=True)
    finally:
        for thread in beside:
            thread.join()


def _keep(stopping: threading.Event, jobs: Sequence[Job], *, sign: bool = False) -> None:
    """One thread's jobs in turn. Whatever ends it ends all: a tick that lives must not leave a job undone unnoticed."""
    try:
        _take_turns(stopping, jobs, show_life if sign else note)
    finally:
        stopping.set()


def _take_turns(stopping: threading.Event, jobs: Sequence[Job], tell: Callable[[Mapping[str, Done]], int]) -> None:
    due = dict.fromkeys(jobs, time.monotonic())
    untold: dict[str, Done] = {}
    told_at = -SIGN_SECONDS
    while not stopping.is_set():
        for job in jobs:
            if (late := time.monotonic() - due[job]) >= 0:
                due[job] = time.monotonic() + job.every
                done = attempt(job, late=late)
                before = untold.get(job.name)
                untold[job.name] = replace(done, failures=done.failures + (before.failures if before else 0))
        if time.monotonic() >= told_at + SIGN_SECONDS:
            told_at = time.monotonic()
            if not attempt(Job("sign of life", SIGN_SECONDS, lambda: tell(untold))).failures:
                untold.clear()
        connection.close()
        stopping.wait(max(SHORTEST_WAIT, min(told_at + SIGN_SECONDS, *due.values()) - time.monotonic()))
    if untold:
        attempt(Job("last words", SIGN_SECONDS, lambda: tell(untold)))
        connection.close()


def attempt(job: Job, *, late: float = 0.0) -> Done:
    """Do a job once; the database being away is a line in the log and a late tick, never the end of it."""
    began, failures = time.monotonic(), 0
    try:
        job.work()
    except Exception:  # whatever one job meets, the others have their own work
        failures = 1
        log.exception("%s failed; it is tried again in %s s", job.name, job.every)
        connection.close()
    return Done(late, time.monotonic() - began, failures)


def show_life(done: Mapping[str, Done]) -> int:
    """Say that this tick is alive and what it has done; forget processes not seen for a day."""
    host, pid = socket.gethostname(), os.getpid()
    sign = {"name": f"tick:{host}:{pid}", "kind": "tick", "host": host, "pid": pid}
    with hotpath.raw() as conn, conn.transaction():
        conn.execute(hotpath.SIGN_OF_LIFE, sign | {"driving": 0, "slots": 0, "queues": ""}, prepare=True)
        _write(conn, done)
        conn.execute("DELETE FROM agents_worker WHERE seen_at < now() - interval '1 day'")
    return 1


def note(done: Mapping[str, Done]) -> int:
    """Say what has been done, without a sign of life: that is the one thread's in which most jobs take turns."""
    with hotpath.raw() as conn, conn.transaction():
        _write(conn, done)
    return 1


def _write(conn: psycopg.Connection[TupleRow], done: Mapping[str, Done]) -> None:
    for job, one in sorted(done.items()):  # in one order: two ticks must not wait for each other
        conn.execute(NOTE, {"name": job, **asdict(one)}, prepare=True)
