"""Asking the gates. Which gates, and in which order, is the setting AGENT_GATES; the strictest answer wins."""

from functools import cache

from django.conf import settings
from django.utils.module_loading import import_string

from agents.contracts import ALLOW, Action, Gate, Pricer, Stance, Verdict


@cache
def gates() -> tuple[Gate, ...]:
    """The gates of this installation, built once per process."""
    return tuple(import_string(path)() for path in settings.AGENT_GATES)


@cache
def pricer() -> Pricer:
    """Who says what a call costs."""
    found: Pricer = import_string(settings.AGENT_PRICER)
    return found


def judge(action: Action) -> Verdict:
    """Ask every gate; later ones see the facts of earlier ones. A denial names every gate that agreed with it."""
    strictest, agreed = ALLOW, []
    for gate in gates():
        verdict = gate.ask(action)
        if verdict.stance == Stance.ALLOW:
            continue
        if verdict.stance > strictest.stance:
            strictest, agreed = verdict, [verdict]
        elif verdict.stance == strictest.stance:
            agreed.append(verdict)
    if len(agreed) < 2:
        return strictest
    reason = "; ".join(one.reason for one in agreed)
    return Verdict(strictest.stance, strictest.gate, reason, strictest.detail, tuple(agreed))


def admit(action: Action) -> None:
    """Let every gate verify or reserve, in the transaction that writes the intent; any of them may raise."""
    for gate in gates():
        gate.admit(action)
