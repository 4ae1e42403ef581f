"""The demo company's people, and the fleet that works for them. Made by `manage.py prepare --demo`; may run twice."""

import json
import random
import secrets
from importlib import import_module

from django.conf import settings
from django.db import transaction

from agents.models import Membership, Role, Run, User
from cockpit import environment
from cockpit.brambleway import work
from cockpit.installation import Person
from cockpit.installation import people as written_down

CAST = {
    "olga": ("Olga Brandt", "operates: pauses, resumes, cancels, freezes", Role.OPERATOR),
    "rhea": ("Rhea Costa", "reviews: decides what agents may not do alone", Role.REVIEWER),
    "max": ("Max Ito", "manages: sees what it costs", Role.MANAGER),
    "ada": ("Ada Nwosu", "administers: everything, everywhere", Role.ADMIN),
}


def people() -> None:
    """Make whoever of the cast is missing, with a generated password kept in `keys/people.json`."""
    known = {person["username"]: person for person in written_down(settings.DATA_DIR)}
    with transaction.atomic():
        for username, (name, about, role) in CAST.items():
            if User.objects.filter(username=username).exists():
                continue
            person = known.setdefault(
                username, Person(username=username, password=secrets.token_urlsafe(12), about=about)
            )
            user = User.objects.create_user(username, person["password"], name=name)
            Membership.objects.create(user=user, team=None, role=role)  # a small company: everybody sees all teams
        # Inside the transaction: nobody is left with a password that nobody was told.
        environment.write_privately(
            settings.DATA_DIR / "keys" / "people.json", json.dumps(list(known.values()), indent=1)
        )


def fleet() -> None:
    """The demo's agents, and on the first day a morning's worth of work."""
    import_module("cockpit.brambleway.tools")  # declared here even where COCKPIT_DEMO is not set for this command
    work.settle()
    if not Run.objects.exists():
        work.arrive(number=14, chance=random.Random(7))  # noqa: S311 - the same first morning everywhere
