"""Money through the real engine: what runs, steps and ledger say of the same calls."""

from decimal import Decimal
from typing import Any, ClassVar

import pytest
from django.db.models import Sum
from django.utils import timezone

from agents.contracts import ALLOW, Action, Json, Usage, Verdict
from agents.models import Agent, Run, Step
from agents.runs import gates, runner
from finops import pricing
from finops.models import LedgerEntry
from tests import factories

pytestmark = pytest.mark.django_db(transaction=True)


def driven(agent: Agent, **bundle: Any) -> Run:
    run = factories.run(agent, release=factories.release(agent, **bundle), objective="Where is order 4711?")
    runner.drive(run.pk)
    run.refresh_from_db()
    return run


def test_ledger_steps_and_run_agree_to_the_last_digit(agent: Agent) -> None:
    run = driven(agent, models=[{"provider": "simulated", "model": "sim-large"}])
    assert run.state == "completed", run.failure
    booked = LedgerEntry.objects.filter(run=run)
    whole = booked.aggregate(amount=Sum("amount"), into=Sum("tokens_in"), out=Sum("tokens_out"))
    steps = Step.objects.filter(run=run, kind="model").aggregate(amount=Sum("cost"), into=Sum("tokens_in"))
    assert booked.count() >= 1
    assert whole["amount"] == run.cost == steps["amount"] > Decimal(0)
    assert (whole["into"], whole["out"]) == (run.tokens_in, run.tokens_out)
    assert whole["into"] == steps["into"]
    entry = booked.first()
    assert entry is not None
    assert (entry.team_id, entry.use_case, entry.kind) == (agent.team_id, agent.use_case, "priced")
    assert (entry.basis["source"], entry.basis["currency"]) == ("simulated price", "USD")


class Witness:
    """A gate behind the price gate: remembers what it was told."""

    told: ClassVar[list[Json]] = []

    def ask(self, action: Action) -> Verdict:
        self.told.append(dict(action.facts))
        return ALLOW

    def admit(self, action: Action) -> None:
        """Nothing to refuse."""


def test_gates_behind_the_price_gate_learn_what_a_call_will_probably_cost(agent: Agent, settings: Any) -> None:
    settings.AGENT_GATES = ["finops.gates.PriceGate", "tests.finops.test_engine_money.Witness"]
    gates.gates.cache_clear()
    try:
        driven(agent, models=[{"provider": "simulated", "model": "sim-large"}], settings={"max_tokens": 100})
    finally:
        gates.gates.cache_clear()
    told = Witness.told[0]
    price = pricing.price("simulated", "sim-large", Usage(told["tokens_in"], 100), timezone.now())
    assert told["tokens_in"] > 0
    assert (told["tokens_out"], told["cost_kind"]) == (100, "estimated")
    assert told["estimated_cost_usd"] == price.amount


def test_a_model_without_a_price_costs_an_unknown_amount_and_is_counted(agent: Agent) -> None:
    run = driven(agent, models=[{"provider": "simulated", "model": "sim-unheard-of"}])
    assert run.unpriced == LedgerEntry.objects.filter(run=run, kind="unpriced", amount=None).count() >= 1
    assert run.cost == 0
