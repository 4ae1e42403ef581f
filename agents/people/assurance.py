"""How sure we are who acts: through which door they came, and when they last showed a second factor there.

Whoever lets a request in notes it on the person who acts. A person that was read from the database came through no
door, and may then do what a token may: whatever asks for more has to be carried to it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from django.conf import settings
from django.utils import timezone


class Door(StrEnum):
    """Ways to come in."""

    NONE = ""
    TOKEN = "token"  # noqa: S105  # a way in, not a secret
    BROWSER = "browser"


@dataclass(frozen=True, slots=True)
class Assurance:
    """Through which door somebody came, and when they showed a second factor in that session."""

    door: Door = Door.NONE
    proven_at: datetime | None = None

    @property
    def is_fresh(self) -> bool:
        """Whether the second factor was shown just now, as this installation understands it."""
        return self.proven_at is not None and timezone.now() - self.proven_at < fresh_for()


UNPROVEN = Assurance()


def fresh_for() -> timedelta:
    """How long a second factor that was shown counts."""
    return timedelta(minutes=settings.FRESH_MINUTES)
