"""What one model call costs, in USD, and how that was worked out. Nothing here reads or writes the database.

Two price lists: `genai-prices` as bundled in its wheel (its updater is never started: nothing leaves the machine) and
our own table for simulated models. Both are reduced to unit prices per million tokens, and one piece of arithmetic
turns tokens into money. An unknown price is *unpriced* with a reason, never 0: the bundled list holds models without
any price, for which its own calculation answers 0.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from agents.contracts import Json, Price, Usage
from agents.llm.recorded import PROVIDER as RECORDED
from agents.registry.chains import CACHED
from finops import simulated_prices

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice, Provider

SMALLEST = Decimal("0.00000001")
"""Amounts are kept to a hundred-millionth of a dollar, the scale of every money column, rounded half even."""

PER = 1_000_000
CURRENCY = "USD"

# What OpenTelemetry and our releases call a provider -> what the price list calls it. Other names must match exactly:
# the list's own guess takes any name containing "openai" for OpenAI, and would price a self-hosted server as that.
PROVIDERS = {
    "aws.bedrock": "aws",
    "azure.ai.inference": "azure",
    "azure.ai.openai": "azure",
    "bedrock": "aws",
    "gcp.gemini": "google",
    "gcp.gen_ai": "google",
    "gcp.vertex_ai": "google",
    "gemini": "google",
    "mistral_ai": "mistral",
    "x_ai": "x-ai",
    "xai": "x-ai",
}
# Our classes of tokens -> the price list's keys for text.
LISTED = {
    "input": "input_mtok",
    "cache_read": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "output": "output_mtok",
}


@dataclass(frozen=True, slots=True)
class Rates:
    """Unit prices in force for one call: USD per million tokens by class, USD per call, and where they come from."""

    tokens: dict[str, Decimal]
    call: Decimal = Decimal(0)
    basis: Json = field(default_factory=dict)


class UnpricedError(Exception):
    """Why no amount can be given; the sentence is kept in the basis and shown to people."""


def price(provider: str, model: str, usage: Usage, at: datetime) -> Price:
    """What a call at a moment costs (`contracts.Pricer`).

    kind `cached`, and 0, for an answer that was kept, for which nobody was called; `recorded`, and 0, for one that was
    played back; `priced` for tokens that were counted, `estimated` for tokens that were guessed (an aborted call),
    `unpriced` with amount None when the model's price or a needed token count is not known. The basis keeps everything
    needed to work the amount out again: source and version, model matched, unit prices.
    """
    if provider == CACHED:
        return Price(Decimal(0), CACHED, {"why": "Answered before: nobody was called.", "model": model})
    if provider == RECORDED:
        return Price(Decimal(0), RECORDED, {"why": "Played back from a recording: nobody was called.", "model": model})
    try:
        rates = _rates(provider, model, usage, at)
        exact = sum(_parts(rates, usage), rates.call)
    except UnpricedError as why:
        return Price(None, "unpriced", {"why": str(why)})
    units = {name: str(unit) for name, unit in rates.tokens.items()}
    basis = rates.basis | {"currency": CURRENCY, "per": PER, "prices": units}
    if rates.call:
        basis["per_call"] = str(rates.call)
    if missing := _missing(rates, usage):
        basis["without"] = missing
    return Price(exact.quantize(SMALLEST, ROUND_HALF_EVEN), "estimated" if usage.estimated else "priced", basis)


def _parts(rates: Rates, usage: Usage) -> Iterator[Decimal]:
    """The money of each class of tokens. `usage.input` holds cache reads and writes, which have prices of their own."""
    counts = {"cache_read": usage.cache_read or 0, "cache_write": usage.cache_write or 0}
    cached = sum(counts.values())
    if usage.input is not None:
        counts["input"] = usage.input - cached
        if counts["input"] < 0:
            raise UnpricedError(f"{cached} cached tokens cannot be part of {usage.input} input tokens.")
    if usage.output is not None:
        counts["output"] = usage.output
    if min(counts.values()) < 0:
        raise UnpricedError("A count of tokens is negative.")
    _require_counts(rates, usage)
    for name, count in counts.items():
        unit = rates.tokens.get(name, rates.tokens.get("input") if name.startswith("cache") else None)
        if unit is None and count:
            raise UnpricedError(f"The price list has no price for {name} tokens of this model.")
        yield (unit or Decimal(0)) * count / PER


def _missing(rates: Rates, usage: Usage) -> list[str]:
    """The classes of tokens that cost something and that nobody counted."""
    return [name for name in ("input", "output") if getattr(usage, name) is None and rates.tokens.get(name)]


def _require_counts(rates: Rates, usage: Usage) -> None:
    """Refuse to leave out part of the bill in silence.

    An estimate of an aborted call may lack one of two counts: a lower bound that says it is estimated beats nothing.
    """
    missing = _missing(rates, usage)
    charged = [name for name in ("input", "output") if rates.tokens.get(name)]
    if missing and not (usage.estimated and len(missing) < len(charged)):
        raise UnpricedError(f"Nobody told how many {' and '.join(missing)} tokens this call used.")


def _rates(provider: str, model: str, usage: Usage, at: datetime) -> Rates:
    """The unit prices in force; raises `UnpricedError`."""
    if provider == simulated_prices.PROVIDER:
        return _simulated(model, at)
    found = _listed(provider.strip().lower(), model)
    if found is None:
        raise UnpricedError(f"No price is known for model {model!r} of provider {provider!r}.")
    holder, info = found
    prices = info.get_prices(at)
    units = {name: _unit(prices, key, usage.input or 0) for name, key in LISTED.items()}
    tokens = {name: unit for name, unit in units.items() if unit is not None}
    call = _unit(prices, "requests_kcount", usage.input or 0)
    if not tokens and call is None:
        raise UnpricedError(f"The price list knows model {info.id!r} of {holder.id!r} but no price per token for it.")
    basis = {"source": "genai-prices", "version": _version(), "provider": holder.id, "model": info.id}
    return Rates(tokens, (call or Decimal(0)) / 1000, basis)


def _simulated(model: str, at: datetime) -> Rates:
    row = simulated_prices.find(model, at)
    if row is None:
        raise UnpricedError(f"No simulated price is known for model {model!r}.")
    origin = {"source": simulated_prices.SOURCE, "version": f"{row.since:%Y-%m-%d}"}
    basis = origin | {"provider": simulated_prices.PROVIDER, "model": row.model}
    return Rates({name: getattr(row, name) for name in LISTED}, basis=basis)


def _unit(prices: "ModelPrice", key: str, total_input: int) -> Decimal | None:
    """One unit price. A price in tiers is the one that this many input tokens reach, for all of them (a cliff)."""
    listed: Any = getattr(prices, key, None)
    if listed is None or isinstance(listed, Decimal):
        return listed
    reached = [tier.price for tier in listed.tiers if total_input > tier.start]
    unit: Decimal = reached[-1] if reached else listed.base
    return unit


@lru_cache(maxsize=2048)
def _listed(provider: str, model: str) -> "tuple[Provider, ModelInfo] | None":
    """The bundled list's entry for a model, or None. Remembered, misses too: a miss scans every model of a provider."""
    from genai_prices.data_snapshot import get_snapshot  # half a second and 30,000 lines: only where a call is priced

    snapshot = get_snapshot()
    wanted = PROVIDERS.get(provider, provider)
    holder = next((known for known in snapshot.providers if known.id == wanted), None)
    info = holder.find_model(model.lower(), all_providers=snapshot.providers) if holder and model else None
    return (holder, info) if holder and info else None


@cache
def _version() -> str:
    from genai_prices import __version__

    return __version__
