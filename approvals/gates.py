"""The gate of this app: which acts wait for a person, and the proof that one agreed.

In a sandbox nothing waits: acts are simulated there, so there is nothing to approve, and an agent can be tried without
a reviewer. Whatever a person was asked about, for whatever reason, is verified before it happens, sandbox or not.
"""

from agents.contracts import ALLOW, Action, Stance, Tier, Verdict
from approvals import integrity

NAME = "tier"
ASSISTED, MANUAL = int(Tier.ASSISTED), int(Tier.MANUAL)


class TierGate:
    """Tier 3 waits for an approval, tier 4 for the person who does it. `ask` stands on the engine's hot path."""

    def ask(self, action: Action) -> Verdict:
        """Allow what an agent may do alone; hold the rest."""
        if not needs_person(action):
            return ALLOW
        if action.tier >= MANUAL:
            reason = f"{action.name} is manual (tier 4): the agent prepares it, a person does it and posts the outcome."
            return Verdict(Stance.HOLD, NAME, reason, {"manual": True})
        reason = f"{action.name} is assisted (tier 3): a person approves it before it happens."
        return Verdict(Stance.HOLD, NAME, reason)

    def admit(self, action: Action) -> None:
        """Refuse what needs a person and has none, or has one who agreed to something else."""
        if action.answer is not None or needs_person(action):
            integrity.require_valid_decision(action)


def needs_person(action: Action) -> bool:
    """Whether an agent may not do this alone."""
    return action.tier >= ASSISTED and action.kind == "tool" and action.environment != "sandbox"
