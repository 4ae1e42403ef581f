"""The release of an agent as it holds now: milder tiers that it has earned, and what people changed of it for a time.

What a page says of an agent is said of this, as its driver does it. Of several tiers, and of several thresholds,
the strictest holds.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import attrgetter
from uuid import UUID

from django.db.models import Q
from django.db.models.functions import Now

from agents.contracts import Json
from agents.models import Agent, Autonomy, Override, Run
from agents.registry import parameters
from agents.runs import overriding


def bundles(agents: Sequence[Agent]) -> dict[UUID, Json]:
    """By agent, of those with a release: two queries however many they are."""
    earned: dict[UUID, dict[str, tuple[int, int]]] = {}
    for one in Autonomy.objects.filter(agent__in=agents, ended_at=None):
        earned.setdefault(one.agent_id, {})[one.tool] = (one.was, one.tier)
    lasting = Q(expires_at=None) | Q(expires_at__gt=Now())
    rows = Override.objects.filter(lasting, agent__in=agents, run=None, ended_at=None).order_by("agent_id", "made_at")
    changed = {pk: changes(found) for pk, found in groupby(rows, key=attrgetter("agent_id"))}
    return {
        one.pk: parameters.applied(
            parameters.earned(one.release.bundle, earned.get(one.pk, {})), changed.get(one.pk, {})
        )
        for one in agents
        if one.release is not None
    }


def bundle(agent: Agent) -> Json:
    """That of one agent; empty while it has no release."""
    return bundles([agent]).get(agent.pk, {})


def changes(overrides: Iterable[Override]) -> Json:
    """What these change, the widest first, by parameter."""
    return parameters.combined((one.parameter, one.value) for one in overrides)


def of_run(run: Run, bundle: Json) -> Json:
    """What a release holds, with what people have changed of it for this run, or for all of its agent."""
    return parameters.applied(bundle, changes(overriding.in_force(run)))
