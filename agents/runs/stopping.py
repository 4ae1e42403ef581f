"""How a worker ends when it is asked to: nothing fails and nothing is cancelled because of it.

Drivers stop at their next checkpoint and hand their runs back. Whatever is still in flight after `ABORT_AFTER`
seconds is given up: a step that may have acted stays as it is, and the next driver does with it what it would do after
a crash. A tool that hears nothing holds its thread; after `LEAVE_AFTER` seconds its run is handed back over its head,
and the process ends.
"""

import logging
import mmap
import os
import struct
import threading
import time
from collections.abc import Callable, Iterable
from uuid import UUID

from agents import signals
from agents.models import Run
from agents.runs import hotpath

log = logging.getLogger(__name__)

ABORT_AFTER, LEAVE_AFTER = 15.0, 16.5
LOOK_SECONDS = 0.25
LAST_WORDS_SECONDS = 1.0  # for a database that may not answer; a run not handed back waits for its lease

HAND_BACK = """
-- What a process that ends now still holds is free for others, as if its drivers had handed it back: fenced, so that a
-- driver which wakes up after all changes nothing. One that people want something of keeps its state, to obey at once.
UPDATE agents_run r SET state = CASE WHEN r.asked = '' THEN 'queued' ELSE r.state END, lease_until = NULL,
    lease_holder = '', lease_token = r.lease_token + 1, changed_at = now(), rung_at = now()
FROM unnest(%(ids)s::uuid[], %(tokens)s::bigint[]) AS mine(id, token)
WHERE r.id = mine.id AND r.lease_token = mine.token AND r.state IN ('running', 'compensating')
RETURNING r.id, r.queue, r.agent_id, r.state
"""


class Ending:
    """Since when this process is to end. Memory that forked children share: only their parent hears the signal."""

    def __init__(self) -> None:
        self._since = mmap.mmap(-1, 8)

    def set(self) -> None:
        """Drivers of this process and of its children stop at their next checkpoint. Asked a second time, they give up
        at once what is in flight."""
        now = time.monotonic()
        self._write(now - ABORT_AFTER if self.is_set() else now)

    def clear(self) -> None:
        """Work goes on."""
        self._write(0.0)

    def is_set(self) -> bool:
        """Looked at before every step."""
        return self._read() > 0.0

    def lasts(self) -> float:
        """Seconds since the process was asked to end; 0 when it was not."""
        since = self._read()
        return time.monotonic() - since if since > 0.0 else 0.0

    def _read(self) -> float:
        since: float = struct.unpack_from("d", self._since)[0]
        return since

    def _write(self, since: float) -> None:
        struct.pack_into("d", self._since, 0, since)


stopping = Ending()  # made here, so that it is there before anything forks


def see_to_it(abort: Callable[[], object], leave: Callable[[], object]) -> None:
    """Watch over the end of this process from a thread of its own: the keeper's may be waiting for the database."""

    def watch() -> None:
        _sleep_until(ABORT_AFTER)
        abort()
        _sleep_until(LEAVE_AFTER)
        log.warning("what still works is left behind; its runs are handed back")
        last = threading.Thread(target=leave, name="last words", daemon=True)
        last.start()
        last.join(LAST_WORDS_SECONDS)
        os._exit(0)

    threading.Thread(target=watch, name="ending", daemon=True).start()


def _sleep_until(seconds: float) -> None:
    while stopping.lasts() < seconds:
        time.sleep(LOOK_SECONDS)


def hand_back(held: Iterable[tuple[UUID, int]]) -> None:
    """Give these runs, each with the token it was claimed with, back to whoever drives them next, and ring."""
    pairs = list(held)
    params = {"ids": [run_id for run_id, _ in pairs], "tokens": [token for _, token in pairs]}
    for run_id, queue, agent_id, state in hotpath.rows(HAND_BACK, params):
        signals.run_ready.send(Run, run_id=run_id, queue=queue)
        signals.run_changed.send(Run, run_id=run_id, agent_id=agent_id, state=state)
