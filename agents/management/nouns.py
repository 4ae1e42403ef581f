"""Commands of the form `manage.py NOUN VERB`: what they share.

A command is a door: it reads its line, calls the verb that pages and the API call, and prints. What the domain refuses
is one sentence on the standard error stream, never a traceback.
"""

from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any

import psycopg
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection

from agents import errors
from agents.people.models import User


class NounCommand(BaseCommand):
    """One noun; its verbs are added by `add_verbs`, each handled by the method named with it."""

    def add_arguments(self, parser: CommandParser) -> None:
        """One subparser for each verb."""
        self._verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
        self.add_verbs()

    def add_verbs(self) -> None:
        """Say which verbs there are."""
        raise NotImplementedError

    def add_verb(self, name: str, does: Callable[..., None]) -> ArgumentParser:
        """A verb; the docstring of the method that does it is its help."""
        parser: ArgumentParser = self._verbs.add_parser(name, help=does.__doc__, description=does.__doc__)
        parser.set_defaults(does=does)
        return parser

    def handle(self, *args: Any, does: Callable[..., None], **options: Any) -> None:
        """Call the verb with its own arguments."""
        given = {name: value for name, value in options.items() if name not in _DJANGOS}
        if self.needs_database(given):
            require_database()
        try:
            does(**given)
        except errors.DomainError as error:
            raise CommandError(error.message) from error

    def needs_database(self, given: dict[str, Any]) -> bool:
        """Whether the verb asks the database, by its arguments."""
        return True

    def say(self, *lines: str) -> None:
        """Print."""
        for line in lines:
            self.stdout.write(line)

    def table(self, heads: list[str], rows: list[list[str]], *, empty: str) -> None:
        """Columns as wide as they need to be; one sentence when there is nothing."""
        if not rows:
            return self.say(empty)
        widths = [max(len(row[index]) for row in [heads, *rows]) for index in range(len(heads))]
        for row in [heads, *rows]:
            self.say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        return None


_DJANGOS = {
    "verb", "verbosity", "settings", "pythonpath", "traceback", "no_color", "force_color", "skip_checks", "stdout",
    "stderr",
}  # fmt: skip


def require_database() -> None:
    """Ask before the pool does: it would try for its whole timeout and end in a traceback."""
    if connection.connection is not None:
        return
    known = connection.settings_dict
    place = {
        name: known[key] for name, key in (("host", "HOST"), ("port", "PORT"), ("dbname", "NAME"), ("user", "USER"))
    }
    try:
        psycopg.connect(**place, password=known["PASSWORD"], connect_timeout=5).close()
    except psycopg.OperationalError as error:
        words = str(error).strip().splitlines()[0]
        sentence = (
            f"The database does not answer ({words}). Start the cockpit, name its folder by COCKPIT_DATA_DIR, or set "
        )
        raise CommandError(f"{sentence}DATABASE_URL.") from error


def account(name: str, *, option: str) -> User:
    """The account named on the command line; one sentence when nobody has that name."""
    user = User.objects.filter(username__iexact=name).first()
    if user is None:
        raise errors.Missing(f"{option} names {name!r}; there is no such account. See manage.py user list.")
    return user
