"""What a call costs, beside the price list's own calculation and beside arithmetic done by hand."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from genai_prices import Usage as ListUsage
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelPrice
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.contracts import Price, Usage
from finops import pricing, simulated_prices
from finops.pricing import price

NOW = datetime(2026, 11, 20, 14, 0, tzinfo=UTC)
TEXT = {"input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok"}

counts = st.integers(0, 3_000_000)


def sensible_models() -> list[tuple[str, str]]:
    """Every model of the list that prices text in and text out, by its own id."""
    found = []
    for provider in get_snapshot().providers:
        for model in provider.models:
            prices = model.get_prices(NOW)
            keys = {key for key, unit in vars(prices).items() if unit is not None}
            if {"input_mtok", "output_mtok"} <= keys and provider.find_model(model.id) is model:
                found.append((provider.id, model.id))
    return found


def usages() -> st.SearchStrategy[Usage]:
    """Counts whose parts never exceed the whole, as OpenTelemetry defines input."""
    return st.builds(
        lambda plain, read, write, out: Usage(plain + read + write, out, read, write), counts, counts, counts, counts
    )


def recomputed(basis: dict[str, object], usage: Usage) -> Decimal:
    """The amount, worked out from nothing but what an entry keeps."""
    units = {name: Decimal(text) for name, text in basis["prices"].items()}  # type: ignore[attr-defined]
    read, write = usage.cache_read or 0, usage.cache_write or 0
    plain = (usage.input or 0) - read - write
    exact = (
        plain * units["input"]
        + read * units.get("cache_read", units["input"])
        + write * units.get("cache_write", units["input"])
        + (usage.output or 0) * units["output"]
    ) / Decimal(str(basis["per"])) + Decimal(str(basis.get("per_call", 0)))
    return exact.quantize(pricing.SMALLEST)


MODELS = sensible_models()


@settings(deadline=None)
@given(model=st.sampled_from(MODELS), usage=usages())
def test_every_model_of_the_list_costs_what_the_list_itself_says(model: tuple[str, str], usage: Usage) -> None:
    provider, name = model
    listed = get_snapshot().calc(
        ListUsage(
            input_tokens=usage.input,
            output_tokens=usage.output,
            cache_read_tokens=usage.cache_read,
            cache_write_tokens=usage.cache_write,
        ),
        *(name, provider, None, NOW),
    )
    ours = price(provider, name, usage, NOW)
    assert ours.kind == "priced"
    assert ours.amount == listed.total_price.quantize(pricing.SMALLEST)
    assert recomputed(ours.basis, usage) == ours.amount


def test_the_list_was_really_read() -> None:
    assert len(MODELS) > 1000


def test_cached_tokens_are_part_of_the_input_and_cost_their_own_price() -> None:
    known = price("openai", "gpt-4o", Usage(1_000_000, 0), NOW)
    cached = price("openai", "gpt-4o", Usage(1_000_000, 0, cache_read=400_000), NOW)
    unit = {name: Decimal(text) for name, text in known.basis["prices"].items()}
    assert known.amount == unit["input"]
    assert cached.amount == Decimal("0.6") * unit["input"] + Decimal("0.4") * unit["cache_read"]
    assert unit["cache_read"] < unit["input"]


def test_the_arithmetic_of_cache_reads_and_writes_by_hand() -> None:
    # 300 plain x 2.50 + 600 read x 0.25 + 100 written x 3.125 + 200 out x 12.50, per million
    found = price("simulated", "sim-large", Usage(1000, 200, cache_read=600, cache_write=100), NOW)
    assert found.amount == Decimal("0.00371250")


def test_more_cached_tokens_than_input_are_not_priced_but_explained() -> None:
    found = price("openai", "gpt-4o", Usage(100, 10, cache_read=90, cache_write=20), NOW)
    assert found == Price(None, "unpriced", {"why": "110 cached tokens cannot be part of 100 input tokens."})


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "our-own-llama"),
        ("ollama", "llama3.3"),
        ("openai-compatible", "gpt-4o"),  # a server that speaks OpenAI's dialect is not OpenAI
        ("self", "gpt-4o"),
        ("", "gpt-4o"),
        ("openai", ""),
        ("simulated", "sim-enormous"),
    ],
)
def test_a_model_without_a_known_price_is_unpriced_and_never_free(provider: str, model: str) -> None:
    found = price(provider, model, Usage(1000, 100), NOW)
    assert (found.amount, found.kind) == (None, "unpriced")
    assert repr(model) in found.basis["why"]


def test_a_model_listed_without_any_price_is_unpriced_though_the_list_calculates_zero() -> None:
    blank = [
        (provider.id, model.id)
        for provider in get_snapshot().providers
        for model in provider.models
        if model.get_prices(NOW) == ModelPrice() and provider.find_model(model.id) is model
    ]
    provider, model = blank[0]
    assert get_snapshot().calc(ListUsage(input_tokens=1000), model, provider, None, NOW).total_price == 0
    assert price(provider, model, Usage(1000, 100), NOW).amount is None


@settings(deadline=None)
@given(usage=usages())
def test_a_guess_is_labelled_and_costs_what_the_same_tokens_would(usage: Usage) -> None:
    counted = price("openai", "gpt-4o-mini", usage, NOW)
    guessed = price(
        "openai",
        "gpt-4o-mini",
        Usage(usage.input, usage.output, usage.cache_read, usage.cache_write, estimated=True),
        NOW,
    )
    assert (counted.kind, guessed.kind) == ("priced", "estimated")
    assert counted.amount == guessed.amount


@pytest.mark.parametrize("usage", [Usage(), Usage(input=100), Usage(output=100), Usage(estimated=True)])
def test_tokens_that_nobody_counted_are_not_taken_for_none(usage: Usage) -> None:
    found = price("openai", "gpt-4o", usage, NOW)
    assert (found.amount, found.kind) == (None, "unpriced")
    assert "Nobody told how many" in found.basis["why"]


def test_an_aborted_call_with_one_count_is_a_lower_bound_that_says_so() -> None:
    found = price("simulated", "sim-large", Usage(input=1000, estimated=True), NOW)
    assert (found.amount, found.kind) == (Decimal("0.00250000"), "estimated")
    assert found.basis["without"] == ["output"]


def test_a_model_that_answers_with_no_text_needs_no_count_of_it() -> None:
    found = price("openai", "text-embedding-3-small", Usage(input=1_000_000), NOW)
    assert found.kind == "priced"
    assert found.amount == Decimal(found.basis["prices"]["input"])


@pytest.mark.parametrize("usage", [Usage(-1, 1), Usage(1, -1), Usage(1, 1, cache_read=-1)])
def test_a_negative_count_buys_nothing(usage: Usage) -> None:
    assert price("openai", "gpt-4o", usage, NOW).kind == "unpriced"


def test_the_basis_names_source_version_model_and_unit_prices() -> None:
    found = price("azure.ai.openai", "gpt-4o-2024-08-06", Usage(10, 10), NOW).basis
    assert found["source"] == "genai-prices"
    assert found["version"].count(".") >= 2
    assert (found["provider"], found["currency"], found["per"]) == ("azure", "USD", 1_000_000)
    assert found["model"].startswith("gpt-4o")
    assert {"input", "output"} <= set(found["prices"])


def test_a_price_in_tiers_freezes_the_one_that_applied() -> None:
    below = price("google", "gemini-2.5-pro", Usage(200_000, 10), NOW).basis["prices"]
    above = price("google", "gemini-2.5-pro", Usage(200_001, 10), NOW).basis["prices"]
    assert Decimal(below["input"]) < Decimal(above["input"])
    assert Decimal(below["output"]) < Decimal(above["output"])


def test_simulated_money_says_so_and_follows_its_dates() -> None:
    before = price("simulated", "sim-large", Usage(1_000_000, 0), datetime(2026, 6, 30, 23, 59, tzinfo=UTC))
    after = price("simulated", "sim-large", Usage(1_000_000, 0), datetime(2026, 7, 1, tzinfo=UTC))
    assert (before.amount, after.amount) == (Decimal("3.00000000"), Decimal("2.50000000"))
    assert before.basis["source"] == simulated_prices.SOURCE == "simulated price"
    assert (before.basis["version"], after.basis["version"]) == ("2020-01-01", "2026-07-01")


def test_the_newest_simulated_price_of_a_model_stands_first() -> None:
    for model in {row.model for row in simulated_prices.TABLE}:
        dates = [row.since for row in simulated_prices.TABLE if row.model == model]
        assert dates == sorted(dates, reverse=True)


@settings(deadline=None)
@given(usage=usages(), model=st.sampled_from(["sim-large", "sim-medium", "sim-small"]))
def test_simulated_money_can_be_recomputed_from_its_basis(usage: Usage, model: str) -> None:
    found = price("simulated", model, usage, NOW)
    assert isinstance(found.amount, Decimal)
    assert recomputed(found.basis, usage) == found.amount


def test_pricing_starts_no_updater() -> None:
    import threading

    price("openai", "gpt-4o", Usage(10, 10), NOW)
    assert not [thread for thread in threading.enumerate() if "genai" in thread.name.lower()]
    assert not get_snapshot().from_auto_update
