"""Second factors as a test shows them: the code that an authenticator app would show now."""

import time

from allauth.mfa.totp.internal import auth

from agents.models import User
from agents.people import factors

SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


def app_of(user: User) -> int:
    """Give somebody an authenticator app, which has shown the code of now; returns its id."""
    factors.add_app(user, secret=SECRET, code=code(0))
    (held,) = [one.pk for one in factors.of(user) if one.type == factors.APP]
    return held


def code(steps: int = 1, secret: str = SECRET) -> str:
    """What the app shows so many steps of 30 s from now; unless told otherwise the next one, which is taken too."""
    return auth.format_hotp_value(auth.hotp_value(secret, int(time.time()) // 30 + steps))
