"""What this app does when another announces a fact. Three lines each."""

from django.dispatch import receiver

from agents import signals
from agents.contracts import BilledCall
from finops import ledger


@receiver(signals.call_billed)
def write_down(sender: object, call: BilledCall, **_: object) -> None:
    """Every billed call becomes an entry, in the transaction that stores its outcome."""
    ledger.book(call)
