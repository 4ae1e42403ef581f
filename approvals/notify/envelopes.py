"""Secrets of endpoints at rest: AES-256-GCM, bound to their row, with the id of the key that sealed them.

An envelope reads `v1:<key id>:<base64 of nonce and ciphertext>`. `COCKPIT_SECRETS_KEY` may hold several keys, separated
by spaces: the first seals, all of them open, so that a key can be replaced while old envelopes stay readable.
"""

import hashlib
import os
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

NONCE = 12
VERSION = "v1"


class Unreadable(Exception):
    """None of the keys of this installation opens the envelope."""


def seal(text: str, *, of: str) -> str:
    """An envelope around `text` that opens for the row `of` only."""
    key, nonce = _keys()[0], os.urandom(NONCE)
    sealed = AESGCM(_derived(key)).encrypt(nonce, text.encode(), of.encode())
    return f"{VERSION}:{_name(key)}:{b64encode(nonce + sealed).decode()}"


def unseal(envelope: str, *, of: str) -> str:
    """What was sealed for the row `of`; `Unreadable` where the key is gone or the envelope was moved or altered."""
    version, _, rest = envelope.partition(":")
    name, _, body = rest.partition(":")
    key = next((one for one in _keys() if _name(one) == name), None)
    if version != VERSION or key is None:
        raise Unreadable
    try:
        raw = b64decode(body, validate=True)
        return AESGCM(_derived(key)).decrypt(raw[:NONCE], raw[NONCE:], of.encode()).decode()
    except (InvalidTag, NotBase64, ValueError) as error:
        raise Unreadable from error


def _keys() -> list[str]:
    return str(settings.SECRETS_KEY).split() or [settings.SECRET_KEY]


@lru_cache(maxsize=8)
def _derived(key: str) -> bytes:
    return HKDF(SHA256(), 32, None, b"cockpit: secrets of endpoints").derive(key.encode())


def _name(key: str) -> str:
    """Which key it is, without telling anything about it."""
    return hashlib.sha256(_derived(key)).hexdigest()[:8]
