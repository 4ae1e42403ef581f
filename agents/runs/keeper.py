"""One thread per process that keeps what its drivers hold.

It renews their leases, shows a sign of life, and hears cancels: at once through Redis, and a moment later by the
poll behind it when Redis is away. A driver that lost its lease is told here first, and by its next write in any
case.
"""

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import psycopg
import redis
from django.conf import settings

from agents.cancellation import Cancellation
from agents.runs import holders, hotpath, stopping

log = logging.getLogger(__name__)

RENEW_SECONDS = 2.0
CANCELS = "cockpit:cancels"


@dataclass(frozen=True, eq=False, slots=True)
class Held:
    """A run a driver of this process holds: its fencing token, how far it has come, and how to abort what is in
    flight."""

    token: int
    steps_done: Callable[[], int]
    cancellation: Cancellation
    hears_cancels: bool = True


@dataclass(slots=True)
class Serving:
    """What this process is there for: the classes of runs it takes, with commas, and how many at once."""

    queues: str = ""
    slots: int = 0


serving = Serving()  # set by the worker around us before anything forks; nothing where there is none


class Keeper:
    """The thread and the runs it keeps."""

    def __init__(self) -> None:
        self.name = holders.name()
        self.stopping = stopping.stopping
        self._held: dict[UUID, Held] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)
        self._thread.start()

    @contextmanager
    def keeping(
        self, run_id: UUID, token: int, steps_done: Callable[[], int], *, hears_cancels: bool = True
    ) -> Iterator[Cancellation]:
        """Hold a run's lease while inside; the value is set when a person cancels or the lease is lost. A cancel that
        was obeyed before may still be on its way: who takes acts back does not hear it."""
        held = Held(token, steps_done, Cancellation(), hears_cancels)
        with self._lock:
            self._held[run_id] = held
        try:
            yield held.cancellation
        finally:
            with self._lock:
                if self._held.get(run_id) is held:
                    del self._held[run_id]
                left = len(self._held)
            if self.stopping.is_set() and not left:
                self._take_leave()

    def give_up(self) -> None:
        """This process ends: abort what its drivers wait for. Their runs go on elsewhere."""
        with self._lock:
            held = list(self._held.values())
        for one in held:
            one.cancellation.stop()

    def hand_back(self) -> None:
        """Free what drivers hold that hear nothing, over their heads; whatever they still write is refused."""
        with self._lock:
            held = [(run_id, one.token) for run_id, one in self._held.items()]
        stopping.hand_back(held)
        self._take_leave()

    def _take_leave(self) -> None:
        """Say that this process left nothing in its hands: one that ends on purpose is nobody's loss."""
        with suppress(psycopg.Error):  # then it looks like a death, which its runs survive
            self._show_life(driving=0)

    def close(self) -> None:
        """End the thread; what it kept is no longer renewed."""
        self._ended.set()
        with suppress(redis.RedisError):  # it listens until its next round is due: any message lets it look up
            _publish(uuid4())
        self._thread.join(RENEW_SECONDS + 1)

    def _run(self) -> None:
        subscription: Any = None
        due = time.monotonic()
        while not self._ended.is_set():
            try:
                subscription = subscription or self._subscribe()
                message = subscription.get_message(timeout=max(0.01, due - time.monotonic()))
                if message and message["type"] == "message":
                    self._cancel(UUID(message["data"].decode()))
            except Exception:  # Redis is away, or a call could not be aborted: every lease hangs on this thread
                log.warning("cancels are not heard at once; the poll hears them", exc_info=True)
                subscription = None
                time.sleep(max(0.05, min(0.5, due - time.monotonic())))
            if time.monotonic() >= due and not self._ended.is_set():
                due = time.monotonic() + RENEW_SECONDS
                self._renew()

    def _subscribe(self) -> Any:
        client: Any = redis.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=1, socket_timeout=5)
        subscription = client.pubsub(ignore_subscribe_messages=True)
        subscription.subscribe(CANCELS)
        return subscription

    def _renew(self) -> None:
        with self._lock:
            held = dict(self._held)
        try:
            self._show_life(driving=len(held))
            if held:
                self._renew_leases(held)
        except Exception:  # the database is away: drivers find out by themselves; this thread must outlive it
            log.warning("leases could not be renewed; trying again in %s s", RENEW_SECONDS, exc_info=True)

    def _show_life(self, *, driving: int) -> None:
        if not serving.queues:  # a command that drives a run of its own takes no others: it is no worker
            return
        sign = {"name": self.name, "kind": "worker", "host": socket.gethostname(), "pid": os.getpid()}
        with hotpath.raw() as conn:
            capacity = {"driving": driving, "slots": serving.slots, "queues": serving.queues}
            conn.execute(hotpath.SIGN_OF_LIFE, sign | capacity, prepare=True)

    def _renew_leases(self, held: dict[UUID, Held]) -> None:
        """All at once, which takes a millisecond; one by one where somebody keeps the row of one of them locked, so
        that it does not cost the others their leases."""
        try:
            self._renew_these(held, patience="1s")
        except psycopg.errors.LockNotAvailable:
            for run_id, one in held.items():
                with suppress(psycopg.errors.LockNotAvailable):  # the next round tries again
                    self._renew_these({run_id: one}, patience="100ms")

    def _renew_these(self, held: dict[UUID, Held], *, patience: str) -> None:
        leases = {
            "ids": list(held),
            "tokens": [one.token for one in held.values()],
            "steps": [one.steps_done() for one in held.values()],
            "lease": hotpath.LEASE_SECONDS,
        }
        with hotpath.raw() as conn, conn.transaction():
            conn.execute(hotpath.PATIENCE, {"patience": patience}, prepare=True)
            kept: dict[UUID, str] = dict(conn.execute(hotpath.RENEW, leases, prepare=True).fetchall())
        for run_id, one in held.items():
            if kept.get(run_id, "cancel") == "cancel":
                one.cancellation.set()

    def _cancel(self, run_id: UUID) -> None:
        with self._lock:
            found = self._held.get(run_id)
        if found and found.hears_cancels:
            found.cancellation.set()


_keeper: Keeper | None = None
_keeper_pid = 0
_making = threading.Lock()


def keeper() -> Keeper:
    """This process's keeper; a forked child makes its own."""
    global _keeper, _keeper_pid
    with _making:
        if _keeper is None or _keeper_pid != os.getpid():
            _keeper, _keeper_pid = Keeper(), os.getpid()
        return _keeper


def close() -> None:
    """End this process's keeper, if it has one."""
    global _keeper
    with _making:
        if _keeper is not None and _keeper_pid == os.getpid():
            _keeper.close()
        _keeper = None


def publish_cancel(run_id: UUID) -> None:
    """Tell every keeper that a person cancelled. Best effort: their polls hear it within two seconds anyway."""
    try:
        _publish(run_id)
    except redis.RedisError:
        log.warning("Redis is away; run %s is aborted when its worker next looks", run_id)


def _publish(run_id: UUID) -> None:
    with redis.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=1, socket_timeout=1) as client:
        client.publish(CANCELS, str(run_id))
