"""The tick's part: facts are told, digests written, letters and messages sent, old notifications forgotten.

In threads of the ticking process: somebody else's slow server must hold up neither the other jobs of the tick nor the
workers, and what people must hear of goes out though Redis is away.
"""

import logging
import threading
from collections.abc import Callable
from datetime import timedelta

from django.db import connection
from django.utils import timezone

from approvals.notify import choosing, digests, outbox, telling
from approvals.notify.models import Notification

log = logging.getLogger(__name__)

SENDERS = 4
KEPT = timedelta(days=90)
FORGET = 5000


class Crew:
    """Threads that do one kind of work, so many at most; each ends when there is nothing left to do."""

    def __init__(self, name: str, work: Callable[[], object], most: int) -> None:
        self.name, self.work = name, work
        self._free = threading.Semaphore(most)

    def call(self, wanted: int) -> int:
        """Start as many as are wanted and free; answers how many."""
        started = 0
        while started < wanted and self._free.acquire(blocking=False):
            threading.Thread(target=self._do, name=self.name, daemon=True).start()
            started += 1
        return started

    def _do(self) -> None:
        try:
            self.work()
        except Exception:  # the next tick tries again; a thread that dies silently would be worse
            log.exception("%s failed; it is tried again with the next tick", self.name)
        finally:
            connection.close()
            self._free.release()


def post() -> None:
    """Facts become notifications, digests that are due are written, and the mail goes out."""
    while telling.tell():
        pass
    choosing.enrol()
    while digests.write_due():
        pass
    outbox.deliver_mail()


_posting, _sending = Crew("posting", post, 1), Crew("sending", outbox.deliver, SENDERS)


def work() -> int:
    """A job of the tick: see to it that what waits is under way."""
    return _posting.call(1) + _sending.call(min(outbox.waiting_lanes(), SENDERS))


def forget() -> int:
    """A job of the tick: delete what was closed long ago, some at a time."""
    old = Notification.objects.filter(pk__lt=digests.first_id(timezone.now() - KEPT)).exclude(
        state=Notification.State.WAITING
    )
    deleted, _ = Notification.objects.filter(
        pk__in=list(old.order_by("id").values_list("pk", flat=True)[:FORGET])
    ).delete()
    return deleted
