"""Drivers that die between any two statements: whatever they had begun is rolled back, nothing after it happens."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from django.db import connection

from agents.models import Run
from agents.runs import hotpath

LONG_AGO = "2020-01-01T00:00:00Z"


class KilledError(BaseException):
    """This driver is no more."""


class Fate:
    """Counts statements and kills before the n-th; `struck` says whether it came to that."""

    def __init__(self, nth: int) -> None:
        self.left = nth
        self.struck = False

    def pass_by(self) -> None:
        """One more statement is about to be sent."""
        self.left -= 1
        if self.left == 0:
            self.struck = True
            raise KilledError


@contextmanager
def dying(nth: int) -> Iterator[Fate]:
    """While inside, this thread is killed before its n-th statement, on whichever connection."""
    fate = Fate(nth)

    def through_django(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        fate.pass_by()
        return execute(sql, params, many, context)

    def straight(send: Any) -> Any:
        def sending(*args: Any) -> Any:
            fate.pass_by()
            return send(*args)

        return sending

    with ExitStack() as stack:
        stack.enter_context(connection.execute_wrapper(through_django))
        for name in ("one", "rows", "within"):
            stack.enter_context(patch.object(hotpath, name, straight(getattr(hotpath, name))))
        yield fate


def run_out(run: Run) -> None:
    """The lease of a driver that died runs out."""
    Run.objects.filter(pk=run.pk, lease_until__isnull=False).update(lease_until=LONG_AGO)
