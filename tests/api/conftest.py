"""Programs of every kind, and what they look at."""

import pytest

from agents.models import Agent, Run, Team, User
from tests.api import stage
from tests.api.stage import Caller


@pytest.fixture
def operator(team: Team) -> Caller:
    """May start and steer in the team."""
    return stage.token("night-watch", "operator", of=team)


@pytest.fixture
def reviewer(team: Team) -> Caller:
    """May decide in the team."""
    return stage.token("second-look", "reviewer", of=team)


@pytest.fixture
def viewer(team: Team) -> Caller:
    """May look at the team's work and change nothing."""
    return stage.token("wall-screen", "viewer", of=team)


@pytest.fixture
def outsider(stranger: User) -> Caller:
    """Works for the stranger's team, with every permission there."""
    return stage.token("elsewhere", "admin", of=stranger.memberships.get().team)


@pytest.fixture
def anybody(db: None) -> Caller:
    """Has no token."""
    return Caller()


@pytest.fixture
def paths(run: Run, agent: Agent) -> dict[str, str]:
    """What stands for the parameters of an address."""
    return {"run_id": str(run.pk), "slug": agent.slug}
