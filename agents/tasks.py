"""Celery tasks: one line each, ids only, safe to run twice."""

import atexit
import os
import signal
import threading
from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID

from celery import shared_task
from celery.concurrency.thread import TaskPool as ThreadPool
from celery.signals import celeryd_after_setup, worker_process_init, worker_ready, worker_shutting_down
from django.db import connection

from agents.llm import gateway
from agents.models import Agent
from agents.runs import recovery, runner
from agents.runs.keeper import keeper, serving
from agents.runs.stopping import LEAVE_AFTER, see_to_it, stopping


@shared_task(name="agents.drive")  # type: ignore[untyped-decorator]  # Celery ships no types
def drive(run_id: str) -> None:
    """Drive a run until it ends, waits or is told to stop; a run that somebody else drives is left alone."""
    runner.drive(UUID(run_id))


def ring(run_id: UUID, queue: str) -> None:
    """Ask a worker of that queue to drive a run."""
    drive.apply_async((str(run_id),), queue=queue)


def ring_all(run_ids: Iterable[UUID], queue: str) -> None:
    """The same for many, over one connection. The first that cannot be sent ends it: while the broker is away each one
    would wait for it anew, and the sweep rings for all of them."""
    with drive.app.producer_or_acquire() as producer:
        for run_id in run_ids:
            drive.apply_async((str(run_id),), queue=queue, producer=producer)


def begin() -> None:
    """What a process that drives runs needs besides its drivers."""
    see_to_it(abort=keeper().give_up, leave=keeper().hand_back)
    _beside(recovery.release_dead)  # what an earlier life of this worker held need not wait for its leases to end


def load_libraries() -> None:
    """What it takes to ask the models that agents have now, so that no run waits while it is loaded."""
    in_use = Agent.objects.filter(release__isnull=False).values_list("release__bundle__models", flat=True)
    gateway.prepare([link for chain in in_use for link in chain or []])


def _beside(work: Callable[[], object]) -> None:
    """Work beside the worker's own start: the database may be away, and a forked child that is not up in four seconds
    is killed."""

    def do() -> None:
        try:
            work()
        finally:
            connection.close()

    threading.Thread(target=do, name=work.__name__, daemon=True).start()


@celeryd_after_setup.connect  # type: ignore[untyped-decorator]
def note_capacity(instance: Any, **_: object) -> None:
    """What this worker takes and how much at once, for whoever decides how many workers there should be."""
    serving.queues = ",".join(sorted(instance.app.amqp.queues.consume_from))
    serving.slots = instance.concurrency if issubclass(instance.pool_cls, ThreadPool) else 1  # a fork drives one


@worker_ready.connect  # type: ignore[untyped-decorator]
def live_in_threads(sender: Any, **_: object) -> None:
    """An idle worker shows signs of life too. The parent of forked drivers keeps no thread that a fork would tear."""
    if isinstance(sender.pool, ThreadPool):
        begin()
        _beside(load_libraries)


@worker_process_init.connect  # type: ignore[untyped-decorator]
def live_in_fork(**_: object) -> None:
    """Each forked driver has a keeper of its own."""
    begin()


@worker_shutting_down.connect  # type: ignore[untyped-decorator]
def hand_back(**_: object) -> None:
    """A worker asked to end lets its drivers, forked ones too, reach their next checkpoint and hand their runs back. It
    ends in time whatever keeps it: the parent of forked drivers has no thread that would see to it, so an alarm does.
    """
    stopping.set()
    signal.signal(signal.SIGALRM, lambda *_: os._exit(0))
    signal.alarm(max(1, round(LEAVE_AFTER + 1.5 - stopping.lasts())))
    atexit.register(signal.alarm, 0)  # by then it ends by itself, and the interpreter has forgotten our handler
