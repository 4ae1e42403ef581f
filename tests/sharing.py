"""Who runs which tests where several processes share them, as in `make test` (`pytest -n 2`), and in which order.

Each process has servers and a database of its own; all must find the same tests, so no name of one is made at random.
A file stays whole. What goes by the clock of real processes, the crash and browser tests, is one share: two fleets or
two browsers at a time would be too much for two cores. That share takes longest and waits most, so it comes first;
small ones come last, and all end together.
"""

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

ALONE = ("tests/crash/", "tests/browser/")
ORDER = (*ALONE, "tests/agents/", "tests/scenarios/", "tests/cockpit/")


def share(nodeid: str) -> str:
    """What is run by one process, in one go."""
    return "alone" if nodeid.startswith(ALONE) else nodeid.split("::")[0]


def place(nodeid: str) -> int:
    """How early it comes."""
    return next((place for place, folder in enumerate(ORDER) if nodeid.startswith(folder)), len(ORDER))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: place(item.nodeid))


class Shares(LoadScopeScheduling):
    """Whoever has nothing left to do takes the next share."""

    def _split_scope(self, nodeid: str) -> str:
        return share(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Shares:
    config.option.loadscopereorder = False  # it would go by the number of tests, not by what they take
    return Shares(config, log)
