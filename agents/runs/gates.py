"""Asking the gates. Which gates, and in which order, is the setting AGENT_GATES; the strictest answer wins."""

from collections.abc import Callable
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


@cache
def waives() -> Callable[[Action, Verdict], bool]:
    """Who says whether a hold has been answered ahead."""
    found: Callable[[Action, Verdict], bool] = import_string(settings.AGENT_WAIVER)
    return found


def judge(action: Action) -> Verdict:
    """Ask every gate; later ones see the facts of earlier ones. What they hold goes ahead where a person has let it
    through already, for the rest of the run."""
    verdict = _strictest(action)
    return ALLOW if verdict.stance == Stance.HOLD and waives()(action, verdict) else verdict


def _strictest(action: Action) -> Verdict:
    """What the gates say together. A denial names every gate that agreed with it."""
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
