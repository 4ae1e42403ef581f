"""What the tests of this app begin with: one question, open."""

from collections.abc import Iterator, Mapping
from uuid import UUID

import pytest

from agents import signals
from agents.models import Team
from approvals.models import Approval
from tests.approvals import questions


@pytest.fixture
def approval(team: Team) -> Approval:
    """May the agent refund €184?"""
    return questions.held()


@pytest.fixture
def woken() -> Iterator[list[UUID]]:
    """The runs that are told to go on, in order."""
    heard: list[UUID] = []

    def hear(sender: object, runs: Mapping[UUID, UUID], **_: object) -> None:
        heard.extend(runs)

    signals.runs_woken.connect(hear)
    yield heard
    signals.runs_woken.disconnect(hear)
