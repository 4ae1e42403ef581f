"""The forms of a policy and of a calendar: from what is published to fields, and from fields to what a file would say.

What is wrong in them is said by `written`, in the same words as for a file.
"""

from dataclasses import dataclass
from typing import Any

from django.http import QueryDict

from approvals.escalation import written
from approvals.escalation.hours import WEEKDAYS
from approvals.escalation.ladder import AfterLast, Json, When

WORDS = {When.NOT_ACKNOWLEDGED: "nobody acknowledged", When.NOT_DECIDED: "nobody decided"}
CHANNELS = {
    "in_app": "in the cockpit",
    "email": "e-mail",
    "webhook": "webhook",
    "slack": "Slack",
    "pagerduty": "PagerDuty",
    "opsgenie": "Opsgenie",
}
ENDS = {
    AfterLast.HOLD: "it is held until somebody decides",
    AfterLast.REJECT: "it is rejected and never done",
    AfterLast.EMERGENCY: "the emergency contact is asked",
}


@dataclass(frozen=True, slots=True)
class LevelFields:
    """One level as the form shows it; one without targets is not used."""

    number: int
    targets: str = ""
    minutes: int = 15
    when: str = When.NOT_DECIDED
    repeat: int = 0
    channels: tuple[str, ...] = ()


def shown_policy(content: Json) -> Json:
    """A policy's content, and what can be chosen."""
    used = {one["level"]: one for one in content["levels"]}
    return {
        **content,
        "emergency": ", ".join(content["emergency"]),
        "levels": [_fields(number, used.get(number)) for number in range(1, 5)],
        "whens": WORDS.items(),
        "ends": ENDS.items(),
        "channels": [(one, CHANNELS[one]) for one in written.CHANNELS],
    }


def _fields(number: int, one: Json | None) -> LevelFields:
    if one is None:
        return LevelFields(number)
    targets, channels = ", ".join(one["targets"]), tuple(one["channels"])
    return LevelFields(number, targets, one["minutes"], one["when"], one["repeat"], channels)


def shown_calendar(content: Json | None) -> Json:
    """A calendar's content, a line of text for each day."""
    found = content or {"zone": "UTC", "holidays": {}}
    hours = found.get("hours")
    return {
        "zone": found["zone"],
        "always": hours is None,
        "days": [(day, ", ".join((hours or {}).get(day, ()))) for day in WEEKDAYS],
        "holidays": "\n".join(f"{day} {name}".strip() for day, name in sorted(found["holidays"].items())),
    }


def kept_calendar(posted: QueryDict) -> Json:
    """What somebody wrote into the form, to correct it."""
    return {
        "zone": posted.get("zone", ""),
        "always": posted.get("open") == "always",
        "days": [(day, posted.get(day, "")) for day in WEEKDAYS],
        "holidays": posted.get("holidays", ""),
    }


def policy(posted: QueryDict, team: str) -> Json:
    """What a file of this form would say."""
    return {
        "team": team,
        "clock": posted.get("clock", "business"),
        "when_paused": posted.get("when_paused", "freeze"),
        "acknowledge_minutes": posted.get("acknowledge_minutes", "15"),
        "after_last": posted.get("after_last", "hold"),
        "emergency": _listed(posted.get("emergency", "")),
        "levels": [_level(posted, number) for number in range(1, 5) if posted.get(f"targets{number}", "").strip()],
    }


def _level(posted: QueryDict, number: int) -> dict[str, Any]:
    return {
        "level": number,
        "targets": _listed(posted.get(f"targets{number}", "")),
        "minutes": posted.get(f"minutes{number}", "15"),
        "when": posted.get(f"when{number}", When.NOT_DECIDED),
        "repeat": posted.get(f"repeat{number}") or "0",
        "channels": posted.getlist(f"channels{number}"),
    }


def calendar(posted: QueryDict, team: str) -> Json:
    """What a file of this form would say."""
    lines = [line.strip().partition(" ") for line in posted.get("holidays", "").splitlines() if line.strip()]
    given: Json = {"team": team, "zone": posted.get("zone", ""), "holidays": {day: name for day, _, name in lines}}
    if posted.get("open") != "always":
        given["hours"] = {day: posted.get(day, "") for day in WEEKDAYS if posted.get(day, "").strip()}
    return given


def _listed(text: str) -> list[str]:
    return [one.strip() for one in text.replace("\n", ",").split(",") if one.strip()]
