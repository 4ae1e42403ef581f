"""Whatever anybody sends: no fault of ours, and every answer as the OpenAPI description promises it.

Requests are made up from our own description: some keep to it, some do not. There are few of each door, so that this
takes seconds; more examples find more.
"""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from hypothesis import HealthCheck, Phase, settings
from schemathesis import Case
from schemathesis.specs.openapi.checks import positive_data_acceptance

from agents.models import Agent, Run, Team
from approvals.models import Approval, PolicySet
from approvals.notify.models import Endpoint
from tests.api import stage
from tests.approvals import questions

UUID_FORM = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.I)
schema = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", get_wsgi_application())


@pytest.fixture
def admin(run: Run, agent: Agent) -> Iterator[dict[str, str]]:
    """May do everything there is. Requests use the connection of the test, which stays open between them."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield stage.token("fuzz", "admin").headers
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.fixture
def approval(run: Run) -> Approval:
    """A question that is open."""
    return questions.held(run)


@pytest.fixture
def endpoint(team: Team) -> Endpoint:
    """Where the team hears of its approvals, too."""
    made: Endpoint = Endpoint.objects.create(team=team, name="Desk", kind="email", address="desk@example.com")
    return made


@pytest.fixture
def policies(db: None) -> PolicySet:
    """A version that everything passes."""
    rule, tools = '@id("open") permit(principal, action, resource);', {"tools": {}}
    made: PolicySet = PolicySet.objects.create(number=1, files={"a.cedar": rule}, cases=[], surface=tools, digest="1")
    return made


@schema.parametrize()
@settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_any_request_is_answered_as_described(
    case: "Case[Any]", admin: dict[str, str], approval: Approval, endpoint: Endpoint, policies: PolicySet
) -> None:
    there_is = {"run_id": str(approval.run_id), "slug": "desk", "approval_id": str(approval.pk)}
    there_is |= {"endpoint_id": str(endpoint.pk), "number": "1", "team": "service"}
    for name, made_up in (case.path_parameters or {}).items():
        is_number = name == "number" and str(made_up).isdecimal()
        if name in ("slug", "team") or is_number or UUID_FORM.fullmatch(str(made_up)):
            case.path_parameters[name] = there_is.get(name, made_up)
    # A value may have the right form and still not exist: a cursor, a slug, an end before its beginning.
    plain = {**admin, "Accept-Encoding": "identity"}  # the checks read the body as it comes
    case.call_and_validate(headers=plain, excluded_checks=[positive_data_acceptance])
