"""Second factors as a test shows them: the code that an authenticator app would show now."""

import time

from allauth.mfa.totp.internal import auth
from django.test import Client
from django.utils import timezone

from agents.models import User
from agents.people import factors, proving

SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


def app_of(user: User) -> int:
    """Give somebody an authenticator app, which has shown the code of now; returns its id."""
    factors.add_app(user, secret=SECRET, code=code(0))
    (held,) = [one.pk for one in factors.of(user) if one.type == factors.APP]
    return held


def code(steps: int = 1, secret: str = SECRET) -> str:
    """What the app shows so many steps of 30 s from now; unless told otherwise the next one, which is taken too."""
    return auth.format_hotp_value(auth.hotp_value(secret, int(time.time()) // 30 + steps))


def just_now(user: User) -> Client:
    """A browser in which somebody is signed in and has shown their app a moment ago."""
    app_of(user)
    client = Client()
    client.force_login(user)
    session = client.session
    session[proving.SHOWN_AT] = timezone.now().isoformat()
    session.save()
    return client
