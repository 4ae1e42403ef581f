"""What the bakery's agents can do: look at an order, let dough rest, pay back. Nothing here is quick by chance."""

from decimal import Decimal
from typing import Any

from agents.tools.catalogue import tool
from agents.tools.context import ToolContext, ToolError, Touched

PAID = Decimal("20.00")


@tool("bakery.look", tier=1)
def look(order: int) -> dict[str, Any]:
    """Look an order up; there is none above 5000."""
    if order > 5000:
        raise ToolError(f"There is no order {order}.", kind="not_found")
    return {"order": order, "customer": "Café Lindenhof", "paid": str(PAID)}


@tool("bakery.rest", tier=1)
def rest(context: ToolContext, seconds: float) -> dict[str, Any]:
    """Let dough rest; somebody who cancels ends that at once."""
    context.cancellation.wait(seconds)
    context.cancellation.raise_if_set()
    return {"rested": seconds}


@tool(
    "bakery.refund",
    tier=3,
    writes=True,
    idempotent=True,
    says=lambda order, amount: f"Refund €{amount:.2f} to Café Lindenhof for order {order}",
    touches=lambda order, amount: [
        Touched("order", str(order), customer="Café Lindenhof", amount=amount, currency="EUR")
    ],
    preview=lambda order, amount: [
        {"what": f"order {order} paid", "before": f"€{PAID}", "after": f"€{PAID - amount:.2f}"}
    ],
)
def refund(context: ToolContext, order: int, amount: Decimal) -> dict[str, Any]:
    """Pay back what was paid for an order."""
    return {"order": order, "refunded": str(amount), "key": context.idempotency_key}
