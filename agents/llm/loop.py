"""The one event loop of a process: every model call runs on it, whichever thread asks.

Async clients belong to the loop that opened their connections; a loop per call or per thread breaks them. It is started
by the first call and never inherited: a forked child starts its own.
"""

import asyncio
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from agents.cancellation import Cancellation

T = TypeVar("T")

_starting = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_inherited: list[object] = []


def run(work: Coroutine[Any, Any, T], cancellation: Cancellation) -> T:
    """Do `work` on the loop and wait for it. On cancel its task is cancelled at once, and what it makes of that is
    what the caller gets."""
    return asyncio.run_coroutine_threadsafe(_abortable(work, cancellation), running()).result()


def running() -> asyncio.AbstractEventLoop:
    """The loop of this process, started if need be."""
    global _loop
    with _starting:
        if _loop is None:
            _loop = asyncio.new_event_loop()
            threading.Thread(target=_loop.run_forever, name="model-calls", daemon=True).start()
        return _loop


async def _abortable(work: Coroutine[Any, Any, T], cancellation: Cancellation) -> T:
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    with cancellation.aborting(lambda: loop.call_soon_threadsafe(task.cancel)):
        return await task


def _forget() -> None:
    """In a forked child the parent's loop has no thread, and its lock may be held by nobody who is still there. The
    loop is kept, unused: thrown away it would close what the parent still needs."""
    global _loop, _starting
    _inherited.append(_loop)
    _loop, _starting = None, threading.Lock()


os.register_at_fork(after_in_child=_forget)
