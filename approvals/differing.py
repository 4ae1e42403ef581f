"""What is different between two values, in words: for whoever is asked again because something has moved."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any

LONGEST, MOST_NAMED = 80, 3


def told(name: str, before: Any, after: Any) -> list[str]:
    """`paid was 184.00, is 92.00`, and of what has parts only those that differ: `lines 2 count was 3, is 4`."""
    found = list(islice(_differences(name, before, after), MOST_NAMED + 1))
    return found if len(found) <= MOST_NAMED else [*found[:MOST_NAMED], f"more of {name} is different"]


def words(value: Any) -> str:
    """A value as people write it, in one line that is not too long."""
    text = " ".join(_plainly(value).split()) or "empty"
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _differences(name: str, before: Any, after: Any) -> Iterator[str]:
    if _same(before, after):
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        parts = [_differences(f"{name} {key}", before.get(key), after.get(key)) for key in sorted({*before, *after})]
        yield from _some(chain(*parts), f"{name} names other things that are not given")
    elif isinstance(before, list) and isinstance(after, list):
        yield from _of_lists(name, before, after)
    else:
        yield f"{name} was {words(before)}, is {words(after)}"


def _some(parts: Iterator[str], otherwise: str) -> Iterator[str]:
    """The parts; where there is none, since a name without a value reads as no name, another sentence."""
    first = next(parts, otherwise)
    yield first
    yield from parts


def _of_lists(name: str, before: Sequence[Any], after: Sequence[Any]) -> Iterator[str]:
    """By their places where as many are there, else what has gone and what has come."""
    had, has = {_key(one): one for one in before}, {_key(one): one for one in after}
    if had.keys() == has.keys():
        yield f"{name} has the same in another order" if len(before) == len(after) else _counted(name, before, after)
    elif len(before) == len(after):
        for place, (was, now) in enumerate(zip(before, after, strict=True), 1):
            yield from _differences(f"{name} {place}", was, now)
    else:
        if gone := [one for key, one in had.items() if key not in has]:
            yield f"{name} no longer has {_named(gone)}"
        if come := [one for key, one in has.items() if key not in had]:
            yield f"{name} has {_named(come)} now"


def _counted(name: str, before: Sequence[Any], after: Sequence[Any]) -> str:
    return f"{name} had {len(before)} entries, has {len(after)}"


def _named(values: Sequence[Any]) -> str:
    named = "; ".join(words(one) for one in values[:MOST_NAMED])
    return named if len(values) <= MOST_NAMED else f"{named}; and {len(values) - MOST_NAMED} more"


def _plainly(value: Any) -> str:
    if value is None:
        return "not given"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return _joined(f"{key} {_plainly(one)}" for key, one in value.items()) or "nothing"
    if isinstance(value, list | tuple):
        return _joined(f"({_plainly(one)})" if isinstance(one, Mapping) else _plainly(one) for one in value) or "none"
    return str(value)


def _joined(parts: Iterable[str]) -> str:
    """No more of them than anybody reads."""
    return ", ".join(islice(parts, LONGEST))


def _same(before: Any, after: Any) -> bool:
    """Equal, and not merely as `True` and `1` are."""
    return before == after and _key(before) == _key(after)


def _key(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)
