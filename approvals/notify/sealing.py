"""The secret of an endpoint: sealed in its row, or in a variable of the environment, or in the file that one names."""

import os
import secrets
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from pathlib import Path

from agents import errors
from approvals.notify import addresses, envelopes
from approvals.notify.models import Endpoint

WEBHOOK, BYTES = "whsec_", 32


class NoSecret(Exception):
    """The endpoint's secret cannot be had; the message says why."""


def fresh() -> str:
    """A new secret for a webhook."""
    return WEBHOOK + b64encode(secrets.token_bytes(BYTES)).decode()


def secret_of(endpoint: Endpoint) -> str:
    """The secret in plain, for as long as a request takes; checked, because a variable may have changed since."""
    found = _found(endpoint)
    try:
        check(endpoint.kind, found)
    except errors.Invalid as error:
        raise NoSecret(error.message) from error
    return found


def _found(endpoint: Endpoint) -> str:
    variable = endpoint.secret_env
    if variable:
        if path := os.environ.get(f"{variable}_FILE"):
            try:
                return Path(path).read_text().strip()
            except (OSError, UnicodeDecodeError) as error:
                raise NoSecret(f"{variable}_FILE names {path}, which cannot be read.") from error
        if found := os.environ.get(variable, "").strip():
            return found
        raise NoSecret(f"The environment of the tick has no {variable}.")
    try:
        return envelopes.unseal(endpoint.secret, of=str(endpoint.pk))
    except envelopes.Unreadable as error:
        raise NoSecret("Its secret was sealed with a key that is not here; add the endpoint anew.") from error


def check(kind: str, secret: str) -> None:
    """Refuse what cannot be the secret of such an endpoint."""
    if not secret or not secret.isascii() or not secret.isprintable() or " " in secret:
        raise errors.Invalid("`secret` must be one word of plain letters, digits and marks.", field="secret")
    if kind == Endpoint.Kind.WEBHOOK:
        try:
            length = len(b64decode(secret.removeprefix(WEBHOOK), validate=True))
        except NotBase64:
            length = 0
        if not secret.startswith(WEBHOOK) or not 24 <= length <= 64:
            raise errors.Invalid("`secret` must be whsec_ and 24 to 64 bytes in base64.", field="secret")
    if kind == Endpoint.Kind.SLACK:
        addresses.parsed(secret)
