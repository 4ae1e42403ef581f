"""What Brambleway's agents can do, declared as any company would declare its own tools."""

import random
from datetime import timedelta
from decimal import Decimal
from typing import Any

from agents.tools.catalogue import tool
from agents.tools.context import ToolContext, ToolError, Touched
from cockpit.brambleway import shop


def _order(order: int) -> dict[str, Any]:
    found = shop.order(order)
    if found is None:
        raise ToolError(f"There is no order {order}; orders run from {shop.ORDERS.start} to {shop.ORDERS.stop - 1}.")
    return found


@tool("tickets.read", tier=1)
def read_ticket(ticket: int) -> dict[str, Any]:
    """Read a customer's ticket."""
    found = shop.ticket(ticket)
    if found is None:
        raise ToolError(f"There is no ticket {ticket}.")
    return found


@tool("orders.read", tier=1)
def read_order(order: int) -> dict[str, Any]:
    """Read an order: customer, item, what was paid, where it stands."""
    return _order(order)


@tool("handbook.search", tier=1)
def search_handbook(words: str) -> dict[str, Any]:
    """Look something up in the company's handbook."""
    found = [f"{name}: {text}" for key, (name, text) in shop.HANDBOOK.items() if key in words.lower()]
    return {"found": found or ["Nothing fits; ask a colleague."], "searched": len(shop.HANDBOOK)}


def _reply_touches(ticket: int) -> list[Touched]:
    found = shop.ticket(ticket)
    return [Touched("ticket", str(ticket), customer=found["customer"] if found else "")]


@tool(
    "tickets.reply",
    tier=2,
    writes=True,
    idempotent=True,
    stop_window=timedelta(seconds=20),
    says=lambda ticket, text: f"Reply to ticket {ticket}: “{text[:80]}”",
    touches=_reply_touches,
)
def reply(context: ToolContext, ticket: int, text: str) -> dict[str, Any]:
    """Answer a customer's ticket."""
    change = ("UPDATE tickets SET reply = ? WHERE id = ?", (text, ticket))
    return shop.once(context.idempotency_key, "reply", str(ticket), change, {"ticket": ticket, "sent": True})


def _whose(order: int) -> str:
    found = shop.order(order)
    return found["customer"] if found else "an unknown customer"


def _refund_says(order: int, amount: Decimal) -> str:
    return f"Refund €{amount:.2f} to {_whose(order)} for order {order}"


def _money_touches(order: int, amount: Decimal) -> list[Touched]:
    return [Touched("order", str(order), customer=_whose(order), amount=amount, currency="EUR")]


def _refund_preview(order: int, amount: Decimal) -> list[dict[str, Any]]:
    found = shop.order(order)
    if found is None:
        return []
    return [
        {"what": f"order {order} paid", "before": f"€{found['paid']:.2f}", "after": f"€{found['paid'] - amount:.2f}"}
    ]


@tool(
    "payments.refund",
    tier=3,
    floor=2,
    writes=True,
    idempotent=True,
    compensation="payments.recharge",
    undoable_for=timedelta(hours=24),
    says=_refund_says,
    touches=_money_touches,
    preview=_refund_preview,
)
def refund(context: ToolContext, order: int, amount: Decimal) -> dict[str, Any]:
    """Pay back what a customer paid for an order, at most all of it. `amount` in euros."""
    found = _order(order)
    if amount <= 0 or amount > found["paid"]:
        raise ToolError(f"Order {order} can be refunded between €0.01 and €{found['paid']:.2f}, not €{amount:.2f}.")
    change = ("UPDATE orders SET paid = paid - ?, status = 'refunded' WHERE id = ?", (float(amount), order))
    return shop.once(
        context.idempotency_key, "refund", str(order), change, {"order": order, "refunded": f"{amount:.2f}"}
    )


@tool(
    "payments.recharge",
    tier=3,
    writes=True,
    idempotent=True,
    says=lambda order, amount: f"Take the refund of €{amount:.2f} for order {order} back",
    touches=_money_touches,
)
def recharge(context: ToolContext, order: int, amount: Decimal) -> dict[str, Any]:
    """Undo a refund: charge the customer again. `amount` in euros."""
    change = ("UPDATE orders SET paid = paid + ?, status = 'delivered' WHERE id = ?", (float(amount), order))
    return shop.once(
        context.idempotency_key, "recharge", str(order), change, {"order": order, "charged": f"{amount:.2f}"}
    )


@tool("carrier.quote", tier=1, timeout=timedelta(seconds=15))
def quote(context: ToolContext, order: int) -> dict[str, Any]:
    """Ask the carrier what a delivery costs. The carrier is slow."""
    found = _order(order)
    context.cancellation.wait(random.Random(f"{context.seed}q").uniform(0.4, 3.0))  # noqa: S311
    context.cancellation.raise_if_set()
    return {"order": order, "city": found["city"], "euros": 8 + len(found["city"])}


def _parcel_touches(order: int) -> list[Touched]:
    return [Touched("parcel", str(order), customer=_whose(order))]


@tool(
    "warehouse.pick",
    tier=2,
    writes=True,
    idempotent=True,
    compensation="warehouse.put_back",
    undoable_for=timedelta(hours=8),
    says=lambda order: f"Pick order {order} for {_whose(order)} from the shelves",
    touches=_parcel_touches,
)
def pick(context: ToolContext, order: int) -> dict[str, Any]:
    """Have an order picked and put on a pallet, ready for the carrier."""
    _order(order)
    change = ("UPDATE orders SET status = 'picked' WHERE id = ?", (order,))
    result = {"order": order, "pallet": f"P{order % 40:02}"}
    return shop.once(context.idempotency_key, "pick", str(order), change, result)


@tool(
    "warehouse.put_back",
    tier=2,
    writes=True,
    idempotent=True,
    says=lambda order, pallet: f"Put order {order} on pallet {pallet} back on the shelves",
    touches=_parcel_touches,
)
def put_back(context: ToolContext, order: int, pallet: str) -> dict[str, Any]:
    """Take an order off its pallet again; somebody else may need the room."""
    change = ("UPDATE orders SET status = 'packed' WHERE id = ?", (order,))
    result = {"order": order, "pallet": pallet, "free": True}
    return shop.once(context.idempotency_key, "put back", str(order), change, result)


def _booking_touches(order: int) -> list[Touched]:
    return [Touched("delivery", str(order), customer=_whose(order))]


@tool(
    "carrier.book",
    tier=2,
    writes=True,
    idempotent=True,
    timeout=timedelta(seconds=15),
    says=lambda order: f"Book a carrier for order {order} to {_whose(order)}",
    touches=_booking_touches,
)
def book(context: ToolContext, order: int) -> dict[str, Any]:
    """Book the carrier for an order. It is slow, and its line is down more often than we like."""
    found = _order(order)
    chance = random.Random(f"{context.seed}{context.seq}b")  # noqa: S311 - an invented carrier's moods
    context.cancellation.wait(chance.uniform(0.5, 4.0))
    context.cancellation.raise_if_set()
    if chance.random() < 0.4:
        raise ToolError(
            "The carrier's booking line is down; they say to try later.", permanent=False, kind="carrier_down"
        )
    change = ("UPDATE orders SET status = 'shipped' WHERE id = ?", (order,))
    result = {"order": order, "booking": f"BW{order}{context.seq}", "city": found["city"]}
    return shop.once(context.idempotency_key, "booking", str(order), change, result)


def _visit_touches(ticket: int) -> list[Touched]:
    found = shop.ticket(ticket)
    return [Touched("visit", str(ticket), customer=found["customer"] if found else "")]


@tool(
    "repairs.arrange",
    tier=4,
    writes=True,
    says=lambda ticket: f"Call about ticket {ticket} and agree a day for the repair",
    touches=_visit_touches,
)
def arrange(ticket: int) -> dict[str, Any]:
    """Agree a day for a repair with the café. Cafés want to talk to somebody: a person calls and posts the day."""
    raise ToolError("Repairs are arranged by a person on the phone.")
