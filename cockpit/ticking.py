"""The tick: what happens because time passes. Any number of ticks may run; every job shares its work by row locks."""

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from django.db import connection

from agents.runs import hotpath, interventions, recovery, rollups
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
    Job("sweep", 2.0, recovery.sweep),
    Job("deadlines", 2.0, interventions.overdue),
    Job("rollups", 2.0, rollups.roll_up),
)


DEMO = Job("brambleway", 9.0, work.arrive)
"""Only where the demo fleet is: something new comes in."""


def tick(stopping: threading.Event, jobs: Sequence[Job] = JOBS) -> None:
    """Run every job when it is due until told to stop; one that fails is logged and tried again, the others go on."""
    name = f"tick:{socket.gethostname()}:{os.getpid()}"
    due = dict.fromkeys(jobs, 0.0)
    while not stopping.is_set():
        for job in jobs:
            if time.monotonic() >= due[job]:
                due[job] = time.monotonic() + job.every
                attempt(job)
        attempt(Job("sign of life", 1.0, lambda: show_life(name)))
        connection.close()
        stopping.wait(1.0)


def attempt(job: Job) -> None:
    """Do a job once; the database being away is a line in the log and a late tick, never the end of it."""
    try:
        job.work()
    except Exception:  # whatever one job meets, the others have their own work
        log.exception("%s failed; it is tried again in %s s", job.name, job.every)
        connection.close()


def show_life(name: str) -> int:
    """Say that this tick is alive; forget processes not seen for a day."""
    with hotpath.raw() as conn:
        sign = {"name": name, "kind": "tick", "host": socket.gethostname(), "pid": os.getpid(), "driving": 0}
        conn.execute(hotpath.SIGN_OF_LIFE, sign, prepare=True)
        conn.execute("DELETE FROM agents_worker WHERE seen_at < now() - interval '1 day'")
    return 1
