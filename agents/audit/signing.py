"""The key that seals are signed with: Ed25519, kept outside the database, so that who can write there cannot sign.

`COCKPIT_AUDIT_KEY` (or its `_FILE`) names a private key in PEM form, as `openssl genpkey -algorithm ed25519` makes it.
Without it one is made on first need in `<data dir>/keys/audit_key.pem`, readable by its owner only.
"""

import os
import secrets
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from django.conf import settings

from agents import errors

_PEM = serialization.Encoding.PEM
_BEGIN = "-----BEGIN "


def private() -> Ed25519PrivateKey:
    """The installation's key."""
    if settings.AUDIT_KEY:
        return _parsed(settings.AUDIT_KEY, "COCKPIT_AUDIT_KEY")
    path = _path()
    try:
        if not path.exists():
            _make(path)
        return _parsed(path.read_text(), str(path))
    except OSError as error:
        why = f"{path} cannot be read or made ({error.strerror}); set COCKPIT_AUDIT_KEY_FILE."
        raise errors.Invalid(why) from error


def public() -> bytes:
    """The installation's public key, 32 bytes."""
    return private().public_key().public_bytes_raw()


def known() -> set[bytes]:
    """The public key of this installation, if it has one here: who only checks makes none."""
    return {public()} if settings.AUDIT_KEY or _path().exists() else set()


def pem(key: bytes) -> str:
    """A public key as other programs read it."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return Ed25519PublicKey.from_public_bytes(key).public_bytes(_PEM, form).decode()


def trusted(path: Path) -> set[bytes]:
    """Every key in a PEM file, public ones as they are, private ones by their public half."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise errors.Invalid(f"{path} cannot be read: {why}.") from error
    found = {_public(_BEGIN + block, str(path)) for block in text.split(_BEGIN)[1:]}
    if not found:
        raise errors.Invalid(f"{path} holds no key; it takes Ed25519 keys in PEM form, {_BEGIN}PUBLIC KEY-----.")
    return found


@lru_cache(maxsize=64)
def _verifier(key: bytes) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(key)


def is_signed(text: bytes, *, signature: bytes, key: bytes) -> bool:
    """Whether the holder of this key signed this text."""
    try:
        _verifier(key).verify(signature, text)
    except (InvalidSignature, ValueError):
        return False
    return True


def _path() -> Path:
    return Path(settings.DATA_DIR) / "keys" / "audit_key.pem"


def _make(path: Path) -> None:
    """Written whole under another name first: a process that comes at the same time reads one key or makes none."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    content = Ed25519PrivateKey.generate().private_bytes(
        _PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    with suppress(FileExistsError):
        os.link(draft, path)
    draft.unlink()


def _parsed(text: str, where: str) -> Ed25519PrivateKey:
    try:
        key = serialization.load_pem_private_key(text.strip().encode() + b"\n", password=None)
    except (ValueError, TypeError) as error:
        raise errors.Invalid(
            f"{where} is no private key in PEM form without a password; openssl genpkey -algorithm ed25519 makes one."
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise errors.Invalid(f"{where} is a key of another kind; it takes Ed25519.")
    return key


def _public(block: str, where: str) -> bytes:
    if "PRIVATE KEY" in block.splitlines()[0]:
        return _parsed(block, where).public_key().public_bytes_raw()
    try:
        key = serialization.load_pem_public_key(block.encode())
    except ValueError as error:
        raise errors.Invalid(f"{where} holds something that is no key in PEM form.") from error
    if not isinstance(key, Ed25519PublicKey):
        raise errors.Invalid(f"{where} holds a key of another kind; it takes Ed25519.")
    return key.public_bytes_raw()
