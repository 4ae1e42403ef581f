"""The secret of an endpoint: sealed in its row, or in a variable of the environment, or in the file that one names.

A variable belongs to one team, by its name: an endpoint sends its secret wherever its team says, so that whoever might
name another team's variable could read it.
"""

import os
import re
import secrets
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from pathlib import Path

from agents import errors
from agents.models import Team
from approvals.notify import addresses, envelopes
from approvals.notify.models import Endpoint

WEBHOOK, BYTES = "whsec_", 32
LONGEST = 80
OWN_PART = re.compile(r"[A-Z0-9]+(_[A-Z0-9]+)*")
"""What follows the team: without `__`, or it might be read as a longer slug and what follows that."""


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
        if why := refusal(endpoint.team, variable):
            raise NoSecret(why)
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


def prefix(team: Team) -> str:
    """How the names of a team's variables begin."""
    return f"NOTIFY_{team.slug.upper().replace('-', '_')}__"


def refusal(team: Team, variable: str) -> str:
    """Why a variable is not this team's to name; empty when it is."""
    mine = prefix(team)
    if not variable.startswith(mine) or not OWN_PART.fullmatch(variable.removeprefix(mine)) or len(variable) > LONGEST:
        return f"`secret_env` of {team} is a variable such as {mine}OPS: {mine} and one more part, {LONGEST} at most."
    if like := next((one for one in Team.objects.exclude(pk=team.pk) if prefix(one) == mine), None):
        return f"Variables that begin with {mine} could be those of {team} or of {like}; give `secret` instead."
    return ""


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
