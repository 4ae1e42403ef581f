"""`manage.py tick`: keeps time for the fleet until it is told to stop."""

import signal
import threading
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from cockpit.ticking import DEMO, JOBS, tick


class Command(BaseCommand):
    """Wakes timers, rings what nobody drives, ends what is overdue, rolls up figures. Run as many as you like."""

    help = __doc__ or ""

    def add_arguments(self, parser: ArgumentParser) -> None:
        """One choice."""
        parser.add_argument("--demo", action="store_true", help="let work come in at the demo company")

    def handle(self, *args: Any, demo: bool, **options: Any) -> None:
        """Tick until SIGTERM or Ctrl-C."""
        stopping = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopping.set())
        tick(stopping, (*JOBS, DEMO) if demo else JOBS)
