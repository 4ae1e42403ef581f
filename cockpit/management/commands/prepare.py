"""`manage.py prepare`: bring the database to this version of the code, and make the demo where it is wanted.

Run by `manage.py up` at each start, and by hand before a release where real servers are used. May be run twice.
"""

from argparse import ArgumentParser
from typing import Any

import psycopg
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from cockpit import demo


class Command(BaseCommand):
    """Migrations first, then the people and agents of the demo."""

    help = "Migrate the database and, with --demo, make the demo people and the demo fleet."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """One choice."""
        parser.add_argument("--demo", action="store_true", help="make the demo people and the demo fleet")

    def handle(self, *, demo: bool, **_: Any) -> None:
        """A database that does not answer is one sentence."""
        try:
            # Not through Django's pool, which would try for its whole timeout.
            psycopg.connect(settings.DATABASE_URL, connect_timeout=5).close()
        except psycopg.OperationalError as error:
            raise CommandError(f"The database does not answer ({error}); check DATABASE_URL.") from error
        call_command("migrate", verbosity=0, interactive=False)
        if demo:
            _demo()


def _demo() -> None:
    demo.people()
    demo.fleet()
