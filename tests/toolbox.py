"""Tools that tests use, declared as a company would declare its own. `effects` is the outside world's own log."""

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

from agents.tools.catalogue import tool
from agents.tools.context import ToolContext, ToolError, Touched

effects: list[tuple[str, str]] = []
troubles: dict[str, Exception] = {}
"""What goes wrong outside, by the name of the tool that meets it."""


@tool("test.echo", tier=1, timeout=None)
def echo(text: str) -> dict[str, Any]:
    """Say it back."""
    return {"text": text}


@tool("test.slow", tier=1, timeout=timedelta(seconds=30))
def slow(context: ToolContext, seconds: float) -> dict[str, Any]:
    """Take a while; stop when cancelled."""
    for _ in range(int(seconds / 0.02)):
        context.cancellation.raise_if_set()
        time.sleep(0.02)
    return {"waited": seconds}


@tool("test.broken", tier=1)
def broken(reason: str = "it is broken") -> None:
    """Always fails."""
    raise ToolError(reason, kind="carrier_down")


@tool("test.garble", tier=1, timeout=None)
def garble() -> dict[str, Any]:
    """Answer as broken encoders do: with a NUL and half of a surrogate pair."""
    return {"text": "nul \x00 and half a pair \ud83d."}


def _says(order: str, amount: Decimal) -> str:
    return f"Refund €{amount:.2f} for order {order}"


def _touches(order: str, amount: Decimal) -> Iterator[Touched]:
    yield Touched("order", order, customer="Café Lindenhof", amount=amount, currency="EUR")


def _preview(order: str, amount: Decimal) -> list[dict[str, Any]]:
    return [{"what": f"order {order} paid", "before": f"€{amount:.2f}", "after": "€0.00"}]


@tool(
    "test.refund",
    tier=3,
    writes=True,
    idempotent=True,
    compensation="test.recharge",
    undoable_for=timedelta(hours=24),
    says=_says,
    touches=_touches,
    preview=_preview,
)
def refund(context: ToolContext, order: str, amount: Decimal) -> dict[str, Any]:
    """Pay back what a customer paid."""
    if trouble := troubles.pop(f"test.refund of {amount}", None):
        raise trouble
    effects.append(("refund", context.idempotency_key))
    return {"order": order, "refunded": str(amount)}


@tool(
    "test.recharge",
    tier=3,
    writes=True,
    idempotent=True,
    says=lambda order, amount: f"Recharge €{amount:.2f} for order {order}",
    touches=_touches,
)
def recharge(context: ToolContext, order: str, amount: Decimal) -> dict[str, Any]:
    """Take a refund back."""
    effects.append(("recharge", context.idempotency_key))
    return {"order": order, "recharged": str(amount)}


@tool("test.note", tier=1, writes=True, idempotent=True, says=lambda text: f"Note “{text}”", touches=lambda text: [])
def note(context: ToolContext, text: str) -> dict[str, Any]:
    """Write a line into the outside world's log; the same key again is the same line."""
    effects.append(("note", context.idempotency_key))
    return {"noted": text}


@tool("test.post", tier=1, writes=True, says=lambda text: f"Post “{text}”", touches=lambda text: [])
def post(context: ToolContext, text: str) -> dict[str, Any]:
    """Like note, but the other side does not know keys: posting twice is posting twice."""
    effects.append(("post", context.idempotency_key))
    return {"posted": text}


@tool(
    "test.reserve",
    tier=1,
    writes=True,
    idempotent=True,
    compensation="test.release",
    undoable_for=timedelta(hours=24),
    says=lambda item: f"Reserve {item}",
    touches=lambda item: [Touched("stock", item)],
)
def reserve(context: ToolContext, item: str) -> dict[str, Any]:
    """Put something aside; only its result says under which number."""
    effects.append((f"reserve {item}", context.idempotency_key))
    return {"item": item, "number": f"R-{item}"}


@tool(
    "test.release",
    tier=3,
    writes=True,
    idempotent=True,
    says=lambda number: f"Release {number}",
    touches=lambda number: [Touched("reservation", number)],
)
def release(context: ToolContext, number: str) -> dict[str, Any]:
    """Take a reservation back."""
    if trouble := troubles.get("test.release"):
        raise trouble
    effects.append((f"release {number}", context.idempotency_key))
    return {"released": number}


@tool(
    "test.send",
    tier=1,
    writes=True,
    compensation="test.recall",
    says=lambda item: f"Ship {item}",
    touches=lambda item: [Touched("parcel", item)],
)
def send(context: ToolContext, item: str) -> dict[str, Any]:
    """Send something off; the carrier knows no keys."""
    effects.append((f"ship {item}", context.idempotency_key))
    return {"item": item}


@tool(
    "test.recall",
    tier=1,
    writes=True,
    says=lambda item: f"Recall {item}",
    touches=lambda item: [Touched("parcel", item)],
)
def recall(context: ToolContext, item: str) -> dict[str, Any]:
    """Call a parcel back; the carrier knows no keys."""
    if trouble := troubles.get("test.recall"):
        raise trouble
    effects.append((f"recall {item}", context.idempotency_key))
    return {"recalled": item}


@tool("test.letter", tier=4, writes=True, says=lambda text: f"Send a letter: {text}", touches=lambda text: [])
def letter(text: str) -> dict[str, Any]:
    """A person posts letters."""
    raise AssertionError("a manual tool is never called")


moods: list[str] = []
"""What `test.flaky` and its like meet, one word a call: `busy` (nothing happened), `lost` (it happened, the answer got
lost), `no` (it will never work); out of words it works."""


def _meet(context: ToolContext, kind: str) -> dict[str, Any]:
    mood = moods.pop(0) if moods else "well"
    if mood == "busy":
        raise ToolError("the carrier is busy", kind="busy", permanent=False)
    if mood == "no":
        raise ToolError("there is no such van", kind="no_van")
    effects.append((kind, context.idempotency_key))
    if mood == "lost":
        raise ConnectionResetError("the line went dead")
    return {"done": True}


@tool("test.ask", tier=1, timeout=None)
def ask(context: ToolContext) -> dict[str, Any]:
    """Read something, as the mood is."""
    return _meet(context, "ask")


@tool("test.book", tier=1, writes=True, idempotent=True, says=lambda: "Book a van", touches=list)
def book(context: ToolContext) -> dict[str, Any]:
    """Book, as the mood is; the same key again is the same booking."""
    return _meet(context, "book")


@tool("test.call", tier=1, writes=True, says=lambda: "Call the carrier", touches=list)
def call(context: ToolContext) -> dict[str, Any]:
    """Call, as the mood is; twice is twice."""
    return _meet(context, "call")


before_mail: list[Callable[[], None]] = []
"""What somebody does just before a mail is on record as under way."""


def _addressed(to: str) -> list[Touched]:
    for act in before_mail:
        act()
    return [Touched("customer", to)]


@tool(
    "test.mail",
    tier=2,
    writes=True,
    idempotent=True,
    stop_window=timedelta(seconds=45),
    says=lambda to: f"Write to {to}",
    touches=_addressed,
)
def mail(context: ToolContext, to: str) -> dict[str, Any]:
    """Write to somebody, a little later."""
    effects.append(("mail", context.idempotency_key))
    return {"sent": to}


ledger: dict[str, str] = {}
"""What customers have paid, by order: what an approval of `test.settle` rests on."""


@tool(
    "test.settle",
    tier=3,
    writes=True,
    idempotent=True,
    says=_says,
    touches=_touches,
    preconditions=lambda order: {"paid": ledger.get(order, "nothing")},
)
def settle(context: ToolContext, order: str, amount: Decimal) -> dict[str, Any]:
    """Pay back, as long as what was paid is what a person has seen."""
    effects.append(("settle", context.idempotency_key))
    return {"order": order, "settled": str(amount)}
