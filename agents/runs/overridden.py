"""What people have changed for a time, as pages show it: now in force, and in force when a step was taken.

Apart from the pages that change it, because those of runs and agents show it too.
"""

from collections.abc import Sequence
from typing import Any

from django.db.models import Exists, OuterRef
from django.urls import reverse
from django.utils.html import format_html

from agents.contracts import Json
from agents.models import Agent, Override, Permission, Run, Step, User
from agents.registry import parameters, thresholds
from agents.runs import overriding

OF_RUN = Exists(Override.objects.filter(run=OuterRef("pk"), ended_at=None))
OF_AGENT = Exists(Override.objects.filter(agent=OuterRef("pk"), run=None, ended_at=None))
"""Whether a row of a list is marked: the tick ends what is over within seconds."""


def home(subject: Run | Agent) -> str:
    """The page of it."""
    if isinstance(subject, Run):
        return reverse("agents:run", args=[subject.pk])
    return reverse("agents:agent", args=[subject.slug])


def may(subject: Run | Agent, actor: User) -> dict[str, bool]:
    """Whether somebody may change anything of it, and take back what others changed."""
    rights = [actor.may(one, subject.team_id) for one in (Permission.STEER, Permission.SPEND, Permission.PUBLISH)]
    return {"may_override": any(rights), "may_revert": rights[0]}


def rows(subject: Run | Agent) -> list[dict[str, Any]]:
    """What is changed now, as the page tells it; what holds for the whole agent is taken back on the agent's page."""
    if isinstance(subject, Run) and subject.is_ended:
        return []
    return [_row(subject, one) for one in overriding.in_force(subject)]


def standing(changed: Sequence[Override]) -> dict[str, Override]:
    """Of what is changed now, by parameter what holds: of tiers and thresholds the strictest."""
    holds = parameters.combined((one.parameter, one.value) for one in changed)
    return {one.parameter: one for one in changed if one.value == holds[one.parameter]}


def beside(bundle: Json, changed: Sequence[Override], path: str) -> str:
    """What else holds a value of this parameter, in a sentence; empty where nothing does."""
    if path == thresholds.ALL:
        return "A stricter one holds for tools with a threshold of their own too."
    table, _, tool = path.partition(".")
    holds = parameters.applied(bundle, parameters.combined((one.parameter, one.value) for one in changed))
    held = thresholds.held(holds, tool) if table == "thresholds" else None
    if held and held.is_raised:
        return f"All tools are held to {held.value:g} for a time; of both the stricter holds."
    return ""


def _row(subject: Run | Agent, one: Override) -> dict[str, Any]:
    is_wide = isinstance(subject, Run) and one.run_id is None
    return {
        "override": one,
        "before": parameters.shown(one.parameter, one.before),
        "after": parameters.shown(one.parameter, one.value),
        "agent": subject.agent if isinstance(subject, Run) and is_wide else None,
        "dialog": f"revert-{one.parameter.replace('.', '-')}",
        "fields": format_html('<input type="hidden" name="parameter" value="{}">', one.parameter),
        "revert": f"{home(subject)}overrides/reversion/",
    }


def of_step(step: Step) -> list[tuple[str, str]]:
    """What people had changed when a step was taken."""
    changed = (step.in_force or {}).get("overrides", ())
    return [(one["parameter"], parameters.shown(one["parameter"], one["value"])) for one in changed]
