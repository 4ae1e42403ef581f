"""What a seal says, in the bytes that are signed and as a line of a file; the sealer and whoever checks it share this.

Apart from the models, because a seal is also read where there is no database.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from agents.audit import signing
from agents.audit.canonical import VERSION
from agents.audit.merkle import Frontier
from agents.audit.models import AuditSeal

GENESIS = hashlib.sha256(VERSION.encode()).digest()
"""The chain before the first entry."""


def chained(before: bytes, leaf: bytes) -> bytes:
    """The chain with one leaf more."""
    return hashlib.sha256(before + leaf).digest()


@dataclass(frozen=True, slots=True)
class Seal:
    """A signed statement about the first `size` entries. Times are UTC; hashes and keys are bytes."""

    number: int
    size: int
    reach: str
    sealed_at: str
    cluster: str
    after_xid: int
    after_id: int
    root: bytes
    chain: bytes
    key: bytes
    signature: bytes = b""
    frontier: bytes = b""

    @property
    def text(self) -> bytes:
        """What is signed: one `name value` a line."""
        lines = [VERSION, *(f"{name} {value}" for name, value in self.line().items() if name not in _UNSIGNED)]
        return ("\n".join(lines) + "\n").encode()

    @property
    def is_signed(self) -> bool:
        """Whether the key it names has signed it."""
        return signing.is_signed(self.text, signature=self.signature, key=self.key)

    @property
    def tree(self) -> Frontier | None:
        """Its tree, ready to go on with; None where what is stored does not lead to its root."""
        try:
            found = Frontier.unpacked(self.size, self.frontier)
        except ValueError:
            return None
        return found if found.root == self.root else None

    def line(self) -> dict[str, Any]:
        """As JSON says it, hashes in hexadecimal."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return {name: value.hex() if isinstance(value, bytes) else value for name, value in values.items()}

    @classmethod
    def of_line(cls, line: dict[str, Any]) -> "Seal":
        """From such a line; KeyError, TypeError or ValueError when it is none."""
        values: dict[str, Any] = {name: int(line[name]) for name in _NUMBERS}
        values |= {name: str(line[name]) for name in _TEXTS}
        values |= {name: bytes.fromhex(line[name]) for name in _HASHES}
        return cls(**values, frontier=bytes.fromhex(line.get("frontier", "")))

    @classmethod
    def of_row(cls, row: AuditSeal) -> "Seal":
        """As the database has it."""
        values: dict[str, Any] = {name: getattr(row, name) for name in (*_NUMBERS, "reach", "cluster")}
        values |= {name: bytes(getattr(row, name)) for name in (*_HASHES, "frontier")}
        return cls(**values, sealed_at=say(row.sealed_at))


_NUMBERS = ("number", "size", "after_xid", "after_id")
_TEXTS = ("reach", "sealed_at", "cluster")
_HASHES = ("root", "chain", "key", "signature")
_UNSIGNED = {"signature", "frontier"}


def say(at: datetime) -> str:
    """UTC, to the microsecond."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
