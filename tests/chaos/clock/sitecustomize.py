"""A clock that is wrong: Python imports this first in a process whose PYTHONPATH names the folder it is in.

CLOCK_OFF says by how many seconds. Monotonic clocks stay as they are, as they do on a machine whose clock is stepped.
"""

import datetime
import os
import time

OFF = float(os.environ.get("CLOCK_OFF", "0"))
_right, _time = datetime.datetime, time.time


class _Kind(type):
    """What the database gives back is a moment as well, made by C code that knows nothing of ours."""

    def __instancecheck__(cls, thing: object) -> bool:
        return isinstance(thing, _right)

    def __subclasscheck__(cls, kind: type) -> bool:
        return issubclass(kind, _right)


class _Wrong(_right, metaclass=_Kind):
    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:  # type: ignore[override]
        return _right.now(tz) + datetime.timedelta(seconds=OFF)

    @classmethod
    def utcnow(cls) -> datetime.datetime:  # type: ignore[override]
        return _right.now(datetime.UTC).replace(tzinfo=None) + datetime.timedelta(seconds=OFF)


if OFF:
    datetime.datetime = _Wrong  # type: ignore[misc]
    time.time = lambda: _time() + OFF
