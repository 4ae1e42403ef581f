"""`manage.py tick`: keeps time for the fleet until it is told to stop."""

import os
import signal
import threading
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from cockpit.ticking import DEMO, JOBS, tick

LAST_JOB_SECONDS = 5


class Command(BaseCommand):
    """Wakes timers, rings what nobody drives, ends what is overdue, rolls up figures. Run as many as you like."""

    help = __doc__ or ""

    def add_arguments(self, parser: ArgumentParser) -> None:
        """One choice."""
        parser.add_argument("--demo", action="store_true", help="let work come in at the demo company")

    def handle(self, *args: Any, demo: bool, **options: Any) -> None:
        """Tick until SIGTERM or Ctrl-C. What waits for a server that does not answer is left after a while, or when
        asked again: every job is a transaction, and another tick does it."""
        stopping = threading.Event()

        def stop(*_: object) -> None:
            if stopping.is_set():
                os._exit(0)
            stopping.set()
            signal.alarm(LAST_JOB_SECONDS)

        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
            signal.signal(number, stop)
        tick(stopping, (*JOBS, DEMO) if demo else JOBS)
