"""`manage.py token`: keys to the API, each a service account of its own."""

from datetime import datetime, timedelta

from django.utils import timezone

from agents import errors
from agents.management.nouns import NounCommand, account
from agents.people import accounts, teams
from agents.people.models import Role, Token


class Command(NounCommand):
    """Create, list and revoke tokens."""

    help = "Keys to the API: create, list, revoke."

    def add_verbs(self) -> None:
        """Three verbs."""
        create = self.add_verb("create", self.create)
        create.add_argument("name", help="the service account's name, as runs and the audit log will show it")
        create.add_argument("--role", required=True, choices=Role.values)
        create.add_argument("--as", dest="owner", metavar="USER", help="the person who stands behind it")
        create.add_argument("--team", help="the team where it has the role; every team if left out")
        create.add_argument("--days", type=int, help="how long it is good for; for ever if left out")
        self.add_verb("list", self.list)
        revoke = self.add_verb("revoke", self.revoke)
        revoke.add_argument("name", help="the token's name, or the beginning of the token")
        revoke.add_argument("--reason", default="", help="why, for the audit log")

    def create(self, *, name: str, role: str, owner: str | None, team: str | None, days: int | None) -> None:
        """Create a token; it is printed this once, alone on the last line."""
        if days is not None and days < 1:
            raise errors.Invalid(f"--days is {days}; a token is good for at least one day.")
        token, plain = accounts.create_token(
            name,
            role=role,
            owner=account(owner, option="--as") if owner else None,
            team=teams.named(team) if team else None,
            expires_at=timezone.now() + timedelta(days=days) if days else None,
            by=None,
        )
        until = f"until {token.expires_at:%Y-%m-%d}" if token.expires_at else "until it is revoked"
        self.say(f"{name} is {role} in {team or 'every team'}, {until}. Its token is shown this once:", plain)

    def list(self) -> None:
        """Every token: whose it is, when it was used, whether it still opens anything."""
        now = timezone.now()
        rows = [
            [
                token.name,
                f"{token.prefix}…",
                token.user.owner.username if token.user.owner else "",
                _day(token.created_at),
                _day(token.last_used_at) or "never",
                _standing(token, now),
            ]
            for token in Token.objects.select_related("user__owner").order_by("-created_at")
        ]
        self.table(
            ["NAME", "TOKEN", "BEHIND IT", "CREATED", "LAST USED", "STANDING"],
            rows,
            empty="There are no tokens; see manage.py token create --help.",
        )

    def revoke(self, *, name: str, reason: str) -> None:
        """Revoke a token: the next request with it is refused."""
        tokens = Token.objects.filter(revoked_at=None)
        found = list(tokens.filter(name=name)) or list(tokens.filter(prefix=name[: accounts.SHOWN]))
        if len(found) != 1:
            known = ", ".join(tokens.order_by("name").values_list("name", flat=True)) or "none"
            raise errors.Missing(f"No token in force is called {name!r}. In force: {known}.")
        accounts.revoke_token(found[0], by=None, reason=reason)
        self.say(f"The token {found[0].name} is revoked.")


def _day(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M}" if at else ""


def _standing(token: Token, now: datetime) -> str:
    if token.revoked_at:
        return f"revoked {_day(token.revoked_at)}"
    if token.expires_at:
        return f"{'expired' if token.expires_at <= now else 'until'} {_day(token.expires_at)}"
    return "in force"
