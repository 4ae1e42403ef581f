"""The tick: what happens because time passes. Any number of ticks may run; every job shares its work by row locks."""

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from django.db import connection

from agents.audit import sealing
from agents.runs import elsewhere, hotpath, interventions, overriding, recovery, rollups, withdrawing
from approvals import claiming
from approvals.bulk import jobs
from approvals.escalation import firing, opening
from approvals.learning import autonomy
from approvals.notify import posting
from approvals.outside import unused
from approvals.sampling import drawing
from cockpit.brambleway import work

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """Something to do every so many seconds."""

    name: str
    every: float
    work: Callable[[], int]


JOBS = (
    Job("dead drivers", 2.0, recovery.release_dead),
    Job("lost messages", 2.0, recovery.ring_again),
    Job("sweep", 2.0, recovery.sweep),
    Job("deadlines", 2.0, interventions.overdue),
    Job("delegated runs", 2.0, withdrawing.withdraw_orphans),
    Job("overrides", 2.0, overriding.expire),
    Job("samples", 5.0, drawing.draw),
    Job("claims", 5.0, claiming.expire),
    Job("autonomy", 5.0, autonomy.watch),
    Job("proposals", 600.0, autonomy.consider),
    Job("held calls", 2.0, unused.withdraw),
    Job("idle sessions", 60.0, elsewhere.end_idle),
    Job("bulk decisions", 5.0, jobs.ring_again),
    Job("rollups", 2.0, rollups.roll_up),
    Job("escalations", 0.5, firing.fire),
    Job("clocks", 5.0, opening.adopt),
    Job("seals", 10.0, sealing.seal),
    Job("notifications", 1.0, posting.work),
    Job("old notifications", 60.0, posting.forget),
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
    """Run every job when it is due until told to stop; one that fails is logged and tried again, the others go on."""
    name = f"tick:{socket.gethostname()}:{os.getpid()}"
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
            if not attempt(Job("sign of life", SIGN_SECONDS, lambda: show_life(name, untold))).failures:
                untold.clear()
        connection.close()
        stopping.wait(max(SHORTEST_WAIT, min(told_at + SIGN_SECONDS, *due.values()) - time.monotonic()))
    if untold:
        attempt(Job("last words", SIGN_SECONDS, lambda: show_life(name, untold)))
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


def show_life(name: str, done: Mapping[str, Done]) -> int:
    """Say that this tick is alive and what it has done; forget processes not seen for a day."""
    sign = {"name": name, "kind": "tick", "host": socket.gethostname(), "pid": os.getpid()}
    with hotpath.raw() as conn, conn.transaction():
        conn.execute(hotpath.SIGN_OF_LIFE, sign | {"driving": 0, "slots": 0, "queues": ""}, prepare=True)
        for job, one in sorted(done.items()):  # in one order: two ticks must not wait for each other
            conn.execute(NOTE, {"name": job, **asdict(one)}, prepare=True)
        conn.execute("DELETE FROM agents_worker WHERE seen_at < now() - interval '1 day'")
    return 1
