"""Trying a step again: whether, when, and until when.

A failure that may pass is no end: the try is kept as a row with its reason and cost, the step says when the next one is
due, and the run waits without a worker. Being let wait by ourselves (no room, an open breaker) is not a try at all.
"""

from datetime import datetime, timedelta
from random import SystemRandom

from agents.models import Run
from agents.runs.lease import Claim
from agents.runs.steps import Planned, Result, now

TRIES = 4
"""How often a step is tried where its release's settings do not say (`attempts`)."""
FIRST_S, LONGEST_S, LEAST_SHARE = 1.0, 60.0, 0.5
CAPACITY = "capacity"
NO_ROOM_S = 1.0  # where nobody says for how long

_random = SystemRandom()


def due(claim: Claim, step: Planned, result: Result) -> datetime | None:
    """When to try again; None when it would not help, was tried often enough, or would come too late for the run."""
    if not result.passing or step.ask.recorded:
        return None
    if not result.is_try:
        pause = result.retry_after or NO_ROOM_S
        at = now() + timedelta(seconds=pause * (1 + _random.uniform(0, 0.25)))
    elif step.attempt < most(claim):
        at = now() + timedelta(seconds=pause_after(step.attempt, result.retry_after))
    else:
        return None
    end = last_moment(claim)
    return None if end and at >= end else at


def given_up(claim: Claim, step: Planned, result: Result) -> str:
    """Why a failure that may pass is the end all the same; empty where it is not one."""
    if not result.passing or step.ask.recorded:
        return ""
    if result.is_try and step.attempt >= most(claim):
        return f"It was tried {step.attempt} times." if step.attempt > 1 else "Its release wants it tried once."
    end = last_moment(claim)
    asked = f" in {result.retry_after:.0f} s" if result.retry_after else ""
    return f"Another try{asked} would be too late: the run's time ends at {end:%H:%M:%S} UTC." if end else ""


def most(claim: Claim) -> int:
    """How often each step of this run may be tried."""
    return int(claim.release.bundle.get("settings", {}).get("attempts", TRIES))


def pause_after(tries: int, asked: float | None) -> float:
    """Seconds: twice as long each time, spread so that not all come back at once, and never sooner than asked."""
    grown = min(LONGEST_S, FIRST_S * 2.0 ** (tries - 1))
    spread = grown * _random.uniform(LEAST_SHARE, 1)
    return spread if asked is None else max(spread, asked + _random.uniform(0, LEAST_SHARE * FIRST_S))


def last_moment(claim: Claim) -> datetime | None:
    """After which nothing of this run may begin; what takes its acts back has no limit."""
    if claim.ending is not None:
        return None
    ends = [claim.deadline_at] if claim.deadline_at else []
    if "wall_s" in claim.release.limits:
        ends.append(claim.started_at + timedelta(seconds=claim.release.limits["wall_s"]))
    return min(ends, default=None)


def waits_for(error_class: str) -> Run.Waits:
    """What a run waits for whose step is tried again later."""
    return Run.Waits.CAPACITY if error_class == CAPACITY else Run.Waits.RETRY
