"""What the tests of notifications begin with: a server of somebody else's, and mail that goes nowhere."""

from collections.abc import Iterator
from ipaddress import ip_network
from typing import Any

import pytest

from agents.models import Team, User
from approvals.models import Approval
from approvals.notify import connecting
from approvals.notify.connecting import Wanted
from approvals.notify.models import Endpoint
from tests.approvals import questions
from tests.approvals.notify.receiving import Receiver


@pytest.fixture
def receiver(settings: Any) -> Iterator[Receiver]:
    """A server on loopback, which may be called here as it may nowhere else unless somebody says so."""
    settings.NOTIFY_NETWORKS = [ip_network("127.0.0.0/8")]
    server = Receiver()
    yield server
    server.close()


@pytest.fixture
def secret() -> str:
    """What the webhook and its receiver share."""
    return "whsec_" + "c2VjcmV0" * 4


@pytest.fixture
def hook(receiver: Receiver, team: Team, governor: User, secret: str) -> Endpoint:
    """A webhook of the team that hears of everything."""
    wanted = Wanted("desk hook", "webhook", f"{receiver.url}/hook?from=cockpit", secret)
    return connecting.add(team, wanted, by=governor)[0]


@pytest.fixture
def asked(olga: User) -> Approval:
    """A question about a run that olga started."""
    return questions.held(questions.run(started_by=olga))
