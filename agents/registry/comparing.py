"""What is different between two releases: every place in their bundles where they part."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from agents.registry.models import Release

ABSENT = object()
"""Where one of two bundles has nothing at all, which is not the same as null."""


@dataclass(frozen=True, slots=True)
class Change:
    """One place, `tiers.payments.refund` or `models[0].model`, and both sides of it; `ABSENT` where there is none."""

    path: str
    before: Any
    after: Any


def diff(a: Release, b: Release) -> list[Change]:
    """From `a` to `b`, in the order of the places."""
    return compare(a.bundle, b.bundle)


def compare(before: Any, after: Any) -> list[Change]:
    """From one JSON value to another."""
    return list(_walk("", before, after))


def _walk(path: str, before: Any, after: Any) -> Iterator[Change]:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted({*before, *after}):
            yield from _walk(f"{path}.{key}" if path else key, before.get(key, ABSENT), after.get(key, ABSENT))
    elif isinstance(before, list) and isinstance(after, list):
        for index in range(max(len(before), len(after))):
            yield from _walk(f"{path}[{index}]", _at(before, index), _at(after, index))
    elif before is ABSENT or after is ABSENT or before != after or type(before) is not type(after):
        yield Change(path, before, after)


def _at(items: list[Any], index: int) -> Any:
    return items[index] if index < len(items) else ABSENT
