"""What it takes to let an action through, out of what the gates said: the strictest of each demand."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta

from django.conf import settings

from agents.contracts import Json, Stance, Verdict
from approvals.models import SLO, Approval

LEVELS = range(1, 5)
ZONES = list(Approval.Zone)


@dataclass(frozen=True, slots=True)
class Terms:
    """Why a person is asked, and what is demanded: the level, how many votes, within what time; the zone of the act,
    and for how long it can be asked and let through, by the clock on the wall, where a gate says so."""

    reasons: list[dict[str, str]]
    level: int
    votes: int
    zone: Approval.Zone
    within: timedelta
    lasts: timedelta | None


def of(verdict: Verdict) -> Terms:
    """The terms of a hold, whichever gates agreed on it."""
    parts = verdict.parts or (verdict,)
    details = [part.detail for part in parts]
    return Terms(
        reasons=[_reason(part) for part in parts],
        level=min(max(_numbers(details, "level"), default=1), LEVELS[-1]),
        votes=max(_numbers(details, "votes"), default=1),
        zone=max((Approval.Zone(one["zone"]) for one in details if "zone" in one), key=ZONES.index, default=ZONES[1]),
        within=min((timedelta(minutes=minutes) for minutes in _numbers(details, "sla_minutes")), default=SLO),
        lasts=min((timedelta(minutes=minutes) for minutes in _numbers(details, "expires_minutes")), default=None),
    )


def again(reason: str, allowed: Approval | None) -> Terms:
    """What it takes to say how an act in doubt goes on: as much as it took to let it through, which `allowed` says."""
    asked = of(Verdict(Stance.HOLD, "engine", reason))
    if allowed is None:
        return asked
    zone = Approval.Zone(allowed.zone)
    return replace(asked, level=allowed.level, votes=allowed.votes_needed, zone=zone)


def usually() -> timedelta:
    """How long a question stays open, in the time of its clock, and how long an answer counts, where no gate says."""
    return timedelta(hours=settings.APPROVAL_HOURS)


def _reason(part: Verdict) -> dict[str, str]:
    rule = {"rule": str(part.detail["rule"])} if part.detail.get("rule") else {}
    return {"gate": part.gate, "reason": part.reason, **rule}


def _numbers(details: Iterable[Json], name: str) -> list[int]:
    return [max(1, int(one[name])) for one in details if one.get(name) is not None]
