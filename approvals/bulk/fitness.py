"""Which requests can be decided together with others, and which deserve a look of their own.

Apart because three ask: the queue (what stands in one row), the page that is about to decide, and the verb itself.
"""

from agents import errors
from approvals.models import Approval

OF_A_KIND = {
    Approval.Kind.IN_DOUBT: "Nobody knows whether it happened; that is found out one by one.",
    Approval.Kind.QUESTION: "It is a question, and each has an answer of its own.",
    Approval.Kind.SAMPLE: "It is a sample, to be looked at by itself.",
}


def unfit(approval: Approval) -> str:
    """Why this is never decided in bulk, in a sentence; empty where it can be. Says the same as `models.FIT`."""
    if approval.kind != Approval.Kind.ACT:
        return OF_A_KIND[Approval.Kind(approval.kind)]
    if approval.is_manual:
        return "It is manual (tier 4): a person does it and posts its outcome."
    if approval.zone == Approval.Zone.RED:
        return "It is in the red zone; high risk is never decided in bulk."
    if approval.level > 1:
        return f"It is L{approval.level}; bulk decides L1 only."
    if approval.votes_needed > 1:
        return f"It takes {approval.votes_needed} people, each for exactly this act."
    return ""


def require(approval: Approval) -> None:
    """Raise what `unfit` says."""
    if sentence := unfit(approval):
        raise errors.Conflict(sentence)
