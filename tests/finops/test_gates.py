"""What a gate says of the price of an action before it is taken."""

import timeit
from decimal import Decimal
from typing import Any

import pytest
from uuid_utils.compat import uuid7

from agents.contracts import ALLOW, Action, Json
from finops.gates import PriceGate

SIMULATED = [{"provider": "simulated", "model": "sim-large"}, {"provider": "openai", "model": "gpt-4o"}]


def action(kind: str, arguments: Json, **facts: Any) -> Action:
    return Action(
        run_id=uuid7(),
        seq=1,
        kind=kind,
        name="anything",
        arguments=arguments,
        agent_id=uuid7(),
        agent="desk",
        release_id=uuid7(),
        release="1.0",
        team_id=uuid7(),
        environment="live",
        tier=1,
        writes=False,
        facts=facts,
    )


def test_a_model_call_is_allowed_and_carries_what_its_first_model_would_cost() -> None:
    asked = action("model", {"chain": SIMULATED}, tokens_in=1000, tokens_out=100)
    assert PriceGate().ask(asked) == ALLOW
    assert asked.facts["estimated_cost_usd"] == Decimal("0.00375000")
    assert asked.facts["cost_kind"] == "estimated"


@pytest.mark.parametrize(
    ("arguments", "facts"),
    [
        ({"chain": SIMULATED}, {}),
        ({"chain": [{"provider": "self", "model": "llama"}]}, {"tokens_in": 1000, "tokens_out": 100}),
        ({"chain": []}, {"tokens_in": 1000, "tokens_out": 100}),
        ({}, {}),
    ],
)
def test_what_cannot_be_estimated_is_unpriced_and_still_allowed(arguments: Json, facts: Json) -> None:
    asked = action("model", arguments, **facts)
    assert PriceGate().ask(asked) == ALLOW
    assert (asked.facts["estimated_cost_usd"], asked.facts["cost_kind"]) == (None, "unpriced")


def test_a_tool_passes_untouched_within_three_microseconds() -> None:
    gate, asked = PriceGate(), action("tool", {"order": "4711"})
    assert gate.ask(asked) == ALLOW
    assert asked.facts == {}
    assert min(timeit.repeat(lambda: gate.ask(asked), number=1000, repeat=5)) / 1000 < 3e-6


def test_admitting_refuses_nothing_for_its_price() -> None:
    gate, asked = PriceGate(), action("model", {"chain": SIMULATED}, tokens_in=10**9, tokens_out=10**9)
    gate.ask(asked)
    gate.admit(asked)
