"""The gate of the policies: what the version that holds says of an action, before it and at the moment of acting.

Without an enforced version it lets everything through at once. In a sandbox nothing waits, and what takes back an act
that was let through is not asked about again; what is forbidden stays forbidden in both.
"""

from agents import errors
from agents.contracts import ALLOW, Action, Stance, Verdict
from agents.runs.performing import team_slug
from approvals.policies import circumstances, granted, loaded, trying
from approvals.policies.engine import Decision
from approvals.policies.loaded import Loaded

NAME = "policy"


class PolicyGate:
    """Asks the enforced policies; keeps where those that are only tried would say something else. `ask` stands on the
    engine's hot path."""

    def ask(self, action: Action) -> Verdict:
        """Allow, hold with what it takes, or deny with the rules that refuse."""
        held, tried = loaded.at_work()
        if held is None and tried is None:
            return ALLOW
        action = circumstances.completed(action, held.engine if held else None, tried.engine if tried else None)
        team = team_slug(action.team_id)
        decision = held.judge(action, team=team) if held else None
        if tried is not None:
            trying.note(tried, action, decision, tried.judge(action, team=team))
        return ALLOW if held is None or decision is None else verdict(held, decision, action)

    def admit(self, action: Action) -> None:
        """Judge again, with the approval that was really given, over the arguments as they are now."""
        held = loaded.enforced()
        if held is None:
            return
        action = circumstances.completed(action, held.engine)
        team = team_slug(action.team_id)
        asked = verdict(held, held.judge(action, team=team), action)
        if asked.stance == Stance.ALLOW:
            return
        if asked.stance == Stance.DENY:
            raise errors.Forbidden(asked.reason)
        given = granted.of(action)
        if given is None:
            raise _moved(action, f"{asked.reason} No person has let exactly this through.")
        if lacking := given.lacks(asked.detail["level"], asked.detail["votes"]):
            raise _moved(action, f"{asked.reason} {lacking}")
        again = held.judge(action, team=team, level=given.level)
        if again.stance != Stance.ALLOW:
            raise errors.Forbidden(said(held, again))


def _moved(action: Action, why: str) -> errors.DomainError:
    """What somebody has let through under other rules is asked again; what nobody was asked about is refused."""
    return errors.Moved(why) if action.answer is not None else errors.Forbidden(why)


def verdict(held: Loaded, decision: Decision, action: Action) -> Verdict:
    """What a decision means for an action."""
    if decision.stance == Stance.DENY:
        return Verdict(Stance.DENY, NAME, said(held, decision), {"rule": ", ".join(decision.rules)})
    if decision.stance == Stance.ALLOW or action.environment == "sandbox" or action.compensates is not None:
        return ALLOW
    detail = {
        "level": decision.level,
        "votes": decision.votes,
        "zone": action.zone,
        "sla_minutes": decision.sla_minutes,
        "rule": ", ".join(decision.rules),
    }
    return Verdict(Stance.HOLD, NAME, said(held, decision), detail)


def said(held: Loaded, decision: Decision) -> str:
    """The decision as a sentence for people."""
    verb = "asks for a person" if decision.stance == Stance.HOLD else "refuses it"
    return f"Policy {held.number} {verb}: {decision.reason}."
