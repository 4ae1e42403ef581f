"""Chance that repeats itself: numbers drawn from a digest, so that the same question gets the same answer in every
process and on every machine. Apart because Python's `hash` differs between processes and `random` between versions."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any, TypeVar

T = TypeVar("T")


class Chance:
    """A source of draws. Each draw is named: asking for one more never shifts the others."""

    def __init__(self, *of: Any) -> None:
        self._of = json.dumps(of, sort_keys=True, ensure_ascii=False, default=str).encode()

    def digest(self, name: str) -> str:
        """32 hexadecimal digits."""
        return hashlib.blake2b(name.encode() + b"\0" + self._of, digest_size=16).hexdigest()

    def fraction(self, name: str) -> float:
        """At least 0 and below 1."""
        return int(self.digest(name)[:13], 16) / 16**13

    def between(self, low: float, high: float, name: str) -> float:
        """Evenly spread from `low` to `high`."""
        return low + (high - low) * self.fraction(name)

    def one_of(self, options: Sequence[T], name: str) -> T:
        """One of some options, each as likely as the next."""
        return options[int(self.fraction(name) * len(options))]
