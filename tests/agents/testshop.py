"""A shop's tools, as the tests of tools declare and use them."""

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import Field

from agents.tools import ToolContext, Touched, tool

Amount = Annotated[Decimal, Field(gt=0)]


@dataclass
class Line:
    sku: str
    bags: int


@tool(
    "testshop.refund",
    tier=3,
    writes=True,
    idempotent=True,
    compensation="testshop.recharge",
    undoable_for=timedelta(hours=24),
    says=lambda order, amount, currency: f"Refund {amount} {currency} of order {order}",
    touches=lambda order, amount, **others: [Touched("order", order, "Café Ulmer", amount, others["currency"])],
    preview=lambda amount: [{"what": "paid", "before": Decimal("40.00"), "after": Decimal("40.00") - amount}],
)
def refund(
    context: ToolContext, order: str, amount: Amount, currency: Literal["EUR", "USD"] = "EUR", on: date | None = None
) -> dict[str, Any]:
    """Give money back for an order.

    order: the order number, as `B-1042`
    """
    return {"order": order, "refunded": amount, "currency": currency, "on": on, "key": context.idempotency_key}


@tool("testshop.pack", tier=1, timeout=None)
def pack(lines: Annotated[list[Line], "what goes into the box"], fragile: bool = False) -> int:
    """Count the bags of a parcel."""
    return sum(line.bags for line in lines)


@tool("testshop.length", tier=1, timeout=None)
def length(text: str) -> int:
    """Count characters."""
    return len(text)
