"""Where a process waits for slow tools: one event loop for the asynchronous ones, a crew of threads for the others.

A thread cannot be stopped from outside. A call that takes too long, or that a person cancels, is abandoned: whoever
asked goes on, the thread stays with the call, and its answer is dropped. Both are made on first use and again after a
fork.
"""

import asyncio
import os
import queue
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError
from contextvars import copy_context
from typing import Any

from django.db import connections

from agents import errors
from agents.cancellation import Cancellation

MOST_ABANDONED = 32


class OverdueError(Exception):
    """The answer did not come in time."""


class _Call:
    """One call and what became of it; `finished` is set by whoever comes first, the answer or a cancel."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self.function, self.context = function, copy_context()
        self.finished = threading.Event()
        self.answered = self.abandoned = False
        self.value: Any = None
        self.error: BaseException | None = None

    def work(self) -> None:
        try:
            self.value = self.context.run(self.function)
        except BaseException as error:  # handed to whoever asked, a SystemExit too: this thread serves others next
            self.error = error
        self.answered = True
        self.finished.set()


class Crew:
    """Threads that wait for tools, as many as are waited for at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: queue.SimpleQueue[_Call] = queue.SimpleQueue()
        self._idle = self._abandoned = 0

    def wait_for(self, function: Callable[[], Any], *, seconds: float, cancellation: Cancellation) -> Any:
        """What `function` returns or raises; `OverdueError` or `errors.Aborted` when it is given up."""
        if self._abandoned >= MOST_ABANDONED:
            raise errors.OutsideError(
                f"{self._abandoned} calls that were given up still hold their threads; this process takes no more.",
                kind="overloaded",
                permanent=False,
            )
        call = _Call(function)
        self._hand_over(call)
        with cancellation.aborting(call.finished.set):
            in_time = call.finished.wait(seconds)
        if not self._has_answered(call):
            raise errors.Aborted(billed=False) if in_time else OverdueError
        if call.error is not None:
            raise call.error
        return call.value

    def _hand_over(self, call: _Call) -> None:
        with self._lock:
            if self._idle:
                self._idle -= 1
            else:
                threading.Thread(target=self._serve, name="cockpit-tool", daemon=True).start()
        self._calls.put(call)

    def _has_answered(self, call: _Call) -> bool:
        """Decided under the lock, so that a late answer is counted as abandoned exactly once."""
        with self._lock:
            if not call.answered:
                call.abandoned = True
                self._abandoned += 1
            return call.answered

    def _serve(self) -> None:
        while True:
            call = self._calls.get()
            call.work()
            connections.close_all()  # back to the pool: this thread may now sleep for hours
            with self._lock:
                self._abandoned -= call.abandoned
                self._idle += 1


class Loop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="cockpit-tool-loop", daemon=True).start()

    def wait_for(self, work: Coroutine[Any, Any, Any], *, seconds: float | None, cancellation: Cancellation) -> Any:
        """What `work` returns or raises. Given up, it is really cancelled; then `OverdueError` or `errors.Aborted`."""
        future = asyncio.run_coroutine_threadsafe(_contained(work), self._loop)
        with cancellation.aborting(future.cancel):
            try:
                return future.result(seconds)
            except TimeoutError:
                if future.done() and not future.cancelled():
                    raise  # the tool's own
                future.cancel()
                raise OverdueError from None
            except CancelledError:
                if cancellation.is_set:
                    raise errors.Aborted(billed=False) from None
                raise errors.OutsideError("The tool cancelled itself.", kind="gave_up", permanent=True) from None


async def _contained(work: Coroutine[Any, Any, Any]) -> Any:
    """A `sys.exit()` would end the loop's thread, and with it everybody else's tools."""
    try:
        return await work
    except SystemExit as error:
        raise errors.OutsideError(f"SystemExit: {error}", kind="SystemExit", permanent=True) from error


_lock = threading.Lock()
_crew: Crew | None = None
_loop: Loop | None = None


def crew() -> Crew:
    """This process's threads."""
    global _crew
    with _lock:
        _crew = _crew or Crew()
        return _crew


def loop() -> Loop:
    """This process's event loop."""
    global _loop
    with _lock:
        _loop = _loop or Loop()
        return _loop


def _forget() -> None:
    """Threads do not survive a fork."""
    global _crew, _loop, _lock
    _lock = threading.Lock()
    _crew = _loop = None


os.register_at_fork(after_in_child=_forget)
