"""The cast, on the stage of this app: one team with an agent that refunds, one question open."""

import pytest

from agents.models import User
from approvals.models import Approval
from tests.approvals import questions


@pytest.fixture
def rhea(db: None) -> User:
    """Reviews what the agents of her team may not do alone."""
    return questions.person("Rhea", role="reviewer")


@pytest.fixture
def olga(db: None) -> User:
    """Operates: starts and steers runs, decides nothing."""
    return questions.person("Olga", role="operator")


@pytest.fixture
def stranger(db: None) -> User:
    """Reviews for another team and must see nothing of this one."""
    return questions.person("Stella", role="reviewer", of="roastery")


@pytest.fixture
def approval(db: None) -> Approval:
    """May the agent refund €184?"""
    return questions.held()
