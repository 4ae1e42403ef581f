"""The demo company: its agents can be published as they are written, and what they do to the shop can be undone."""

from typing import Any
from uuid import uuid4

import pytest

from agents.cancellation import Cancellation
from agents.models import Release, Role
from agents.tools import ToolContext
from cockpit.brambleway import shop, tools, work
from tests import factories


@pytest.mark.django_db
def test_every_agent_of_the_demo_is_published_once() -> None:
    factories.person("ada", Role.ADMIN)
    work.settle()
    work.settle()
    assert sorted(Release.objects.values_list("agent__slug", flat=True)) == sorted(work.AGENTS)
    published = Release.objects.get(agent__slug="dispatch").bundle["tool_schemas"]["warehouse.pick"]
    assert published["compensation"] == "warehouse.put_back"


def test_what_was_picked_can_be_put_back(settings: Any, tmp_path: Any) -> None:
    settings.DATA_DIR = tmp_path
    order = shop.ORDERS.start
    picked = tools.pick(context(1), order=order)
    assert (shop.order(order) or {})["status"] == "picked"
    assert tools.put_back(context(2), **picked)["free"]
    assert (shop.order(order) or {})["status"] == "packed"


def context(seq: int) -> ToolContext:
    return ToolContext(
        run_id=uuid4(),
        seq=seq,
        attempt=1,
        idempotency_key=f"test:{seq}",
        environment="live",
        agent="dispatch",
        team_id=uuid4(),
        seed=7,
        cancellation=Cancellation(),
    )
