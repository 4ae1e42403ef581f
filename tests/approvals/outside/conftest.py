"""What these tests begin with: the agent `triage`, and the account it asks through."""

import pytest

from agents.models import Agent, Team, User
from tests.approvals.outside import elsewhere


@pytest.fixture
def triage(team: Team) -> Agent:
    """It runs elsewhere."""
    return elsewhere.published(team)


@pytest.fixture
def key(team: Team, triage: Agent) -> User:
    """The account of its token."""
    return elsewhere.key(team)[0]
