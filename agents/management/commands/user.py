"""`manage.py user`: the people of an installation."""

import secrets
import sys

from django.db import transaction

from agents.management.nouns import NounCommand, account
from agents.people import accounts, factors, teams
from agents.people.models import Role, User


class Command(NounCommand):
    """Create people, list accounts, help those who have lost their second factors."""

    help = "The people of this installation: create, list, forget-factors."

    def add_verbs(self) -> None:
        """Three verbs."""
        create = self.add_verb("create", self.create)
        create.add_argument("name", help="what they sign in with")
        create.add_argument("--role", required=True, choices=Role.values)
        create.add_argument("--team", help="the team where they have the role; every team if left out")
        create.add_argument("--create-team", action="store_true", help="make the team if there is none of that name")
        create.add_argument("--password-stdin", action="store_true", help="read the password from the standard input")
        self.add_verb("list", self.list)
        forget = self.add_verb("forget-factors", self.forget_factors)
        forget.add_argument("name", help="who has lost them")
        forget.add_argument("--reason", required=True, help="why, for the audit log: how you know that it is them")

    @transaction.atomic
    def create(self, *, name: str, role: str, team: str | None, create_team: bool, password_stdin: bool) -> None:
        """Create a person; the generated password is printed once, unless one is given on the standard input."""
        where = None
        if team:
            where = teams.found(team, by=None) if create_team else teams.named(team)
        password = sys.stdin.readline().rstrip("\n") if password_stdin else secrets.token_urlsafe(15)
        user = accounts.create_user(name, role=role, team=where, password=password, by=None)
        self.say(f"{user.username} is {role} in {where.slug if where else 'every team'}.")
        if not password_stdin:
            self.say(f"password: {password}")

    def forget_factors(self, *, name: str, reason: str) -> None:
        """Take every second factor from somebody who has lost them; they sign in with their password alone again."""
        user = account(name, option="NAME")
        gone = factors.forget(user, reason=reason)
        self.say(f"{user.username} had {gone} second factors and recovery codes; they are forgotten.")

    def list(self) -> None:
        """Every account with its roles."""
        rows = []
        for user in User.objects.select_related("owner").prefetch_related("memberships__team").order_by("username"):
            roles = ", ".join(
                f"{one.role} in {one.team.slug if one.team else 'every team'}" for one in user.memberships.all()
            )
            behind = f"service of {user.owner}" if user.owner else user.kind
            rows.append([user.username, behind if user.is_active else f"{behind}, switched off", roles])
        self.table(["NAME", "KIND", "ROLES"], rows, empty="There is nobody yet; see manage.py user create --help.")
