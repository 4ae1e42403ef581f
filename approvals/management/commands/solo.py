"""`manage.py solo NAME --on --reason "…"` and `--off`: whether one person may decide what they themselves started."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from agents import errors
from agents.management.nouns import account
from approvals import solo


class Command(BaseCommand):
    """Lifts the separation of duties for one person, or puts it back."""

    help = "Lift the separation of duties for one named person, or put it back. Every page shows it while it is on."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Who, which way, and why."""
        parser.add_argument("name", help="what they sign in with")
        way = parser.add_mutually_exclusive_group(required=True)
        way.add_argument("--on", action="store_true", help="they may decide what they started or answer for")
        way.add_argument("--off", action="store_true", help="somebody else decides that again")
        parser.add_argument("--reason", default="", help="why there is nobody else; required with --on")

    def handle(self, *, name: str, on: bool, reason: str, **_: Any) -> None:
        """Switch, and say what that means."""
        try:
            user = account(name, option="NAME")
            if on:
                solo.switch_on(user, reason=reason)
            else:
                solo.switch_off(user, reason=reason)
        except errors.DomainError as error:
            raise CommandError(error.message) from error
        means = "decides alone from now on; every page says so" if on else "no longer decides what they started"
        self.stdout.write(f"{user.username} {means}.")
