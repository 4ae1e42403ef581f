"""What the tests of this app begin with: one question, open."""

import pytest

from agents.models import Team
from approvals.models import Approval
from tests.approvals import questions


@pytest.fixture
def approval(team: Team) -> Approval:
    """May the agent refund €184?"""
    return questions.held()
