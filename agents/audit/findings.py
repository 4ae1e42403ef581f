"""What is wrong with a log, in words: which entry, what was done to it, and how that is known.

Apart from the checks, which find it, and from the doors, which tell it.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from agents.audit.canonical import FIELDS, read

Kind = Literal["altered", "missing", "added", "moved", "seal", "key", "checkpoint"]
MOST = 1000
_LONGEST = 80


@dataclass(frozen=True, slots=True)
class Entry:
    """Which entry is meant, by what is left of it."""

    id: str
    at: str
    verb: str
    by: str

    @classmethod
    def of(cls, *forms: bytes | None) -> "Entry":
        """From the first of these canonical forms that can be read."""
        found = next((fields for form in forms if form and (fields := read(form)).get("id")), {})
        return cls(*(str(found.get(name, "unknown")) for name in ("id", "at", "verb", "by_name")))

    def __str__(self) -> str:
        return f"entry {self.id} ({self.at}, {self.verb} by {self.by})"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it was sealed."""

    kind: Kind
    text: str
    entry: Entry | None = None

    def __str__(self) -> str:
        return f"{self.kind}: {f'{self.entry} ' if self.entry else ''}{self.text}"


@dataclass(slots=True)
class Report:
    """What was looked at and what was found. Times as canonical forms say them, "" where there is none."""

    entries: int = 0
    seals: int = 0
    since: str = ""
    sealed_at: str = ""
    published: int = 0
    unsealed: int = 0
    oldest_unsealed: str = ""
    findings: list[Finding] = field(default_factory=list)
    unlisted: int = 0

    @property
    def is_intact(self) -> bool:
        """Whether everything is as it was sealed."""
        return not self.findings

    @property
    def found(self) -> int:
        """How many findings, listed or not."""
        return len(self.findings) + self.unlisted

    def add(self, kind: Kind, text: str, entry: Entry | None = None) -> None:
        """Note a finding; beyond `MOST` they are only counted."""
        if len(self.findings) < MOST:
            self.findings.append(Finding(kind, text, entry))
        else:
            self.unlisted += 1


def changes(sealed: bytes, row: bytes) -> str:
    """What is different between two forms of an entry."""
    before, after = read(sealed), read(row)
    told = [
        f"{name} was {_short(before.get(name))}, is {_short(after.get(name))}"
        for name in FIELDS
        if before.get(name) != after.get(name)
    ]
    return "; ".join(told) or "its canonical form is another one"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
