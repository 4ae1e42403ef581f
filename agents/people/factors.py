"""Second factors: an authenticator app, passkeys, and recovery codes for the day on which both are lost.

The tables and the cryptography are those of `allauth.mfa`; its pages and its sign-in are not used. Codes are checked
here because a code must open one door only: the last one used is kept with the factor, under its lock, whereas a note
in a cache is gone when that is.
"""

import hmac
import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal import auth as totp
from allauth.mfa.webauthn.internal import auth as webauthn
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from agents import errors, signals
from agents.people.models import User

Kind = Authenticator.Type
APP, PASSKEY, CODES = str(Kind.TOTP), str(Kind.WEBAUTHN), str(Kind.RECOVERY_CODES)
NAMES = {APP: "Authenticator app", PASSKEY: "Passkey", CODES: "Recovery codes"}
AROUND = (-1, 0, 1)  # steps of 30 s by which a clock may be off
WRONG = "This code is not right. Codes change every 30 seconds, and each opens one door only; type the one shown now."
NO_PASSKEY = "This passkey was not accepted. Try again, or use a code."
Found = TypeVar("Found")


class Adapter(DefaultMFAAdapter):  # type: ignore[misc]  # of a class without types
    """What allauth asks of us: our names, and secrets that a copy of the database does not give away."""

    def encrypt(self, text: str) -> str:
        """Sealed with a key of the installation."""
        return _box().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        """As it was before."""
        try:
            return _box().decrypt(encrypted_text.encode()).decode()
        except InvalidToken:
            raise errors.Conflict(
                "This factor was kept under another COCKPIT_SECRET_KEY and cannot be read; have it removed with "
                "manage.py user forget-factors."
            ) from None

    def _get_user_identifier(self, user: User) -> str:
        return user.username

    def _get_site_name(self) -> str:
        return str(settings.ORGANISATION)


def _box() -> MultiFernet:
    return _boxes((settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS))


@cache
def _boxes(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([_derived(key) for key in keys])


def _derived(key: str) -> Fernet:
    """A key for this purpose alone."""
    kept = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"cockpit second factors").derive(key.encode())
    return Fernet(urlsafe_b64encode(kept))


# --- what somebody has ------------------------------------------------------------------------------------------------
def of(user: User) -> list[Any]:
    """The factors of a person, as rows of allauth: `pk`, `type`, `created_at`, `last_used_at`."""
    return list(Authenticator.objects.filter(user_id=user.pk).order_by("created_at"))


def kinds(user: User) -> frozenset[str]:
    """Which kinds of factors somebody can show; empty for who has none. Recovery codes alone are none."""
    held = frozenset(Authenticator.objects.filter(user_id=user.pk).values_list("type", flat=True))
    return held if held - {CODES} else frozenset()


def name_of(factor: Any) -> str:
    """What a person calls a factor."""
    return str(factor.wrap().name) if factor.type == PASSKEY else NAMES[factor.type]


# --- setting up -------------------------------------------------------------------------------------------------------
def new_secret() -> str:
    """What an authenticator app and we will share."""
    return str(totp.generate_totp_secret())


def qr_code(user: User, secret: str) -> str:
    """The secret as a picture for the camera of a phone, in SVG."""
    adapter = Adapter()
    return str(adapter.build_totp_svg(adapter.build_totp_url(user, secret)))


def add_app(user: User, *, secret: str, code: str) -> None:
    """Keep an authenticator app that has shown that it knows the secret."""
    counter = _counter(secret, code)
    if counter is None:
        raise errors.Invalid(WRONG, field="code")
    try:
        with transaction.atomic():
            factor = totp.TOTP.activate(user, secret).instance
            factor.data["counter"] = counter
            factor.save(update_fields=["data"])
            _added(user, APP)
    except IntegrityError:
        raise errors.Conflict("You have an authenticator app already; remove it first, then add the other.") from None


def offer_passkey(user: User) -> dict[str, Any]:
    """What a browser needs to make a passkey for this person; what it answers belongs to this session."""
    return _plain(webauthn.begin_registration(user, passwordless=False))


def add_passkey(user: User, *, name: str, credential: str) -> None:
    """Keep the passkey that a browser has made."""
    if not name.strip():
        raise errors.Invalid("Give the passkey a name, so that you know it again.", field="name")
    made = _read(credential)
    _judged(lambda: webauthn.complete_registration(webauthn.parse_registration_response(made)))
    with transaction.atomic():
        webauthn.WebAuthn.add(user, name.strip()[:80], made)
        _added(user, PASSKEY, name=name.strip()[:80])


@transaction.atomic
def renew_codes(user: User) -> list[str]:
    """New recovery codes; the old ones open nothing any more."""
    Authenticator.objects.filter(user_id=user.pk, type=CODES).delete()
    RecoveryCodes.activate(user)
    _announce("person.factor_added", user, {"factor": CODES})
    return codes(user)


def codes(user: User) -> list[str]:
    """The recovery codes that are still good."""
    kept = Authenticator.objects.filter(user_id=user.pk, type=CODES).first()
    return list(RecoveryCodes(kept).get_unused_codes()) if kept else []


@transaction.atomic
def remove(user: User, pk: int) -> str:
    """Forget one factor; the recovery codes go with the last of the others. Says which it was."""
    factor = Authenticator.objects.select_for_update().filter(user_id=user.pk, pk=pk).exclude(type=CODES).first()
    if factor is None:
        raise errors.Missing()
    name = name_of(factor)
    factor.delete()
    if not kinds(user):
        Authenticator.objects.filter(user_id=user.pk).delete()
    _announce("person.factor_removed", user, {"factor": factor.type, "name": name})
    return name


@transaction.atomic
def forget(user: User, *, reason: str) -> int:
    """Take every factor from somebody who has lost them; for whoever runs the installation."""
    gone: int = Authenticator.objects.filter(user_id=user.pk).delete()[0]
    if gone:
        signals.account_changed.send(
            User, verb="person.factors_forgotten", about=user, by=None, reason=reason, detail={"factors": gone}
        )
    return gone


def _added(user: User, kind: str, **more: str) -> None:
    """With the first factor come recovery codes: nobody makes them after the phone is lost."""
    RecoveryCodes.activate(user)
    _announce("person.factor_added", user, {"factor": kind, **more})


def _announce(verb: str, user: User, detail: dict[str, Any]) -> None:
    signals.account_changed.send(User, verb=verb, about=user, by=user, reason="", detail=detail)


# --- showing ----------------------------------------------------------------------------------------------------------
@transaction.atomic
def check_code(user: User, code: str) -> str:
    """Which kind of factor this code is of; raises `Invalid`. Each code is good once, whoever else types it now."""
    typed = "".join(code.split()).replace("-", "")
    held = Authenticator.objects.select_for_update().filter(user_id=user.pk, type__in=[APP, CODES]).order_by("pk")
    for factor in held:
        if _takes_app(factor, typed) if factor.type == APP else factor.wrap().validate_code(typed):
            factor.refresh_from_db(fields=["data"])
            factor.record_usage()
            return str(factor.type)
    raise errors.Invalid(WRONG, field="code")


def _takes_app(factor: Any, typed: str) -> bool:
    """Whether the app shows this code, later than the last one that was used."""
    counter = _counter(Adapter().decrypt(factor.data["secret"]), typed)
    if counter is None or counter <= factor.data.get("counter", 0):
        return False
    factor.data["counter"] = counter
    factor.save(update_fields=["data"])
    return True


def _counter(secret: str, code: str) -> int | None:
    """Which step of 30 s, counted since 1970, an app shows this code in; None for none around now."""
    typed, now = "".join(code.split()).encode(), int(time.time()) // 30
    for step in AROUND:
        shown: str = totp.format_hotp_value(totp.hotp_value(secret, now + step))
        if hmac.compare_digest(shown.encode(), typed):
            return now + step
    return None


def ask_passkey(user: User) -> dict[str, Any]:
    """What a browser needs to show one of this person's passkeys; its answer belongs to this session."""
    return _plain(webauthn.begin_authentication(user))


def check_passkey(user: User, credential: str) -> str:
    """Which kind of factor this is; raises `Invalid` unless a passkey of this person answered what was asked."""
    shown = _read(credential)
    factor = _judged(lambda: webauthn.complete_authentication(user, webauthn.parse_authentication_response(shown)))
    factor.record_usage()
    return PASSKEY


def _read(credential: str) -> Any:
    try:
        return json.loads(credential)
    except ValueError:
        raise errors.Invalid(NO_PASSKEY, field="passkey") from None


def _judged(check: Callable[[], Found]) -> Found:
    """Whatever a browser may send that is no answer to what was asked is one refusal."""
    try:
        return check()
    except (ValidationError, ValueError, TypeError, KeyError, AttributeError):
        raise errors.Invalid(NO_PASSKEY, field="passkey") from None


def _plain(options: dict[str, Any]) -> dict[str, Any]:
    return {name: dict(value) if hasattr(value, "keys") else value for name, value in options.items()}
