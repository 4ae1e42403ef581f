"""What these tests begin and end with: this process knows of no version at work."""

from collections.abc import Iterator

import pytest

from approvals.policies import loaded


@pytest.fixture(autouse=True)
def _nothing_known() -> Iterator[None]:
    """What one test enforces is not in force in the next: versions are known per process."""
    loaded.forget()
    yield
    loaded.forget()
