"""The gate of this app: which acts wait for a person, and the proof that one agreed.

In a sandbox nothing waits: acts are simulated there, so there is nothing to approve, and an agent can be tried without
a reviewer. Whatever a person was asked about, for whatever reason, is verified before it happens, sandbox or not.
"""

from agents.contracts import ALLOW, Action, Risk, Stance, Tier, Verdict
from agents.runs import windows
from agents.tools.people import ASK_PERSON
from approvals import integrity
from approvals.run_grants import grants

NAME, RISK, UNSURE, WINDOW = "tier", "risk", "confidence", "window"
QUESTION = "question"
SUPERVISED, ASSISTED, MANUAL = int(Tier.SUPERVISED), int(Tier.ASSISTED), int(Tier.MANUAL)


class TierGate:
    """Tier 3 waits for an approval, tier 4 for the person who does it; so does high risk at any tier, and a write whose
    confidence is below the threshold in force. `ask` stands on the engine's hot path."""

    def ask(self, action: Action) -> Verdict:
        """Allow what an agent may do alone; hold the rest."""
        if not needs_person(action):
            return announced(action)
        if action.name == ASK_PERSON:
            return Verdict(
                Stance.HOLD, QUESTION, "The agent asks; a person answers, and nothing is done.", {"zone": action.zone}
            )
        if action.tier >= MANUAL:
            reason = f"{action.name} is manual (tier 4): the agent prepares it, a person does it and posts the outcome."
            return Verdict(Stance.HOLD, NAME, reason, {"zone": action.zone})
        if action.risk == Risk.HIGH:
            reason = f"{action.name} is high risk: a person approves it each time, at any tier."
            return Verdict(Stance.HOLD, RISK, reason, {"zone": action.zone})
        if action.tier < ASSISTED:
            value = action.confidence.value
            how_sure = "not known" if value is None else f"{value:.2f}"
            least, which = action.facts["confidence_threshold"], action.facts.get("threshold_words", "the threshold")
            looks = f"a person looks before {action.name} happens"
            reason = f"Its confidence is {how_sure}; below {least:g} {looks}, by {which}."
            return Verdict(Stance.HOLD, UNSURE, reason, {"zone": action.zone})
        reason = f"{action.name} is assisted (tier 3): a person approves it before it happens."
        return Verdict(Stance.HOLD, NAME, reason, {"zone": action.zone})

    def admit(self, action: Action) -> None:
        """Refuse what needs a person and has none, or has one who agreed to something else."""
        if grants.use(action):
            return
        if action.answer is not None or needs_person(action):
            integrity.require_valid_decision(action)


def announced(action: Action) -> Verdict:
    """At tier 2 an agent acts alone; where its tool asks for it, people see the act coming and may stop it."""
    seconds = action.facts.get(windows.SECONDS)
    is_supervised = action.tier == SUPERVISED and action.writes and action.compensates is None
    if not (seconds and is_supervised) or action.facts.get(windows.PASSED) or action.environment == "sandbox":
        return ALLOW
    reason = f"{action.name} is supervised (tier 2): it happens in {seconds:g} s unless somebody stops it."
    return Verdict(Stance.HOLD, WINDOW, reason, {windows.LENGTH: seconds})


def needs_person(action: Action) -> bool:
    """Whether an agent may not do this alone. What takes back an act that was let through needs no second approval;
    what only people do stays theirs, and high risk asks each time."""
    if action.kind == "model" or action.environment == "sandbox":
        return False
    if action.compensates is not None:
        return action.tier >= MANUAL or action.risk == Risk.HIGH
    return action.tier >= ASSISTED or action.risk == Risk.HIGH or is_unsure(action)


def is_unsure(action: Action) -> bool:
    """Whether a write is less certain than the threshold in force demands; unknown is below every threshold."""
    threshold = action.facts.get("confidence_threshold")
    return threshold is not None and action.writes and action.confidence.below(threshold)
