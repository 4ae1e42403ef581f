"""What comes in at Brambleway: a steady trickle of tickets, complaints and parcels, while the demo runs."""

import random
import tomllib
from pathlib import Path
from typing import Any

from agents.models import Agent, Release, Run, Team
from agents.registry import publishing
from agents.runs import starting
from cockpit.brambleway import shop

AGENTS = ("desk", "refunds", "dispatch")
TEAMS = {"support": "Support", "billing": "Billing", "operations": "Operations"}
FOR_PEOPLE = ("drips", "every second week")
"""Tickets about which desk needs a person."""
MOST_WAITING = 12
"""Nobody may be there to answer: no more questions to people than one person can look at."""
MOST_OPEN = 24


def settle() -> None:
    """The teams, and a release of each agent; the same files again change nothing."""
    for slug, name in TEAMS.items():
        Team.objects.get_or_create(slug=slug, defaults={"name": name})
    for slug in AGENTS:
        bundle = tomllib.loads((Path(__file__).parent / f"{slug}.toml").read_text(encoding="utf-8"))
        if not Release.objects.filter(agent__slug=slug, version=bundle["version"]).exists():
            publishing.publish(bundle, by=None)


def arrive(*, number: int = 1, chance: random.Random | None = None) -> int:
    """Start up to `number` runs for whatever comes in; how many were started."""
    chance = chance or random.Random()  # noqa: S311 - who asks what next is no secret
    agents = {
        agent.slug: agent for agent in Agent.objects.filter(slug__in=AGENTS, frozen_at=None).select_related("release")
    }
    open_runs = Run.objects.live().filter(agent__in=agents.values())
    if not agents or open_runs.count() >= MOST_OPEN:
        return 0
    is_full = open_runs.filter(state=Run.State.WAITING).count() >= MOST_WAITING
    started = 0
    for _ in range(number):
        slug = chance.choices(AGENTS, [6, 2, 3])[0]
        objective, facts = ask(slug, chance)
        if slug not in agents or (is_full and (slug == "refunds" or any(words in objective for words in FOR_PEOPLE))):
            continue
        starting.start(agents[slug], objective=objective, input=facts, by=None)
        started += 1
    return started


def ask(slug: str, chance: random.Random) -> tuple[str, dict[str, Any]]:
    """What somebody wants of an agent: a sentence, and facts for a pipeline."""
    number = chance.choice(shop.ORDERS)
    order = shop.order(number) or {"customer": "a café", "city": "town", "item": "coffee"}
    ticket = number - shop.ORDERS.start + shop.FIRST_TICKET
    if slug == "desk":
        return f"Answer ticket {ticket} of {order['customer']}: {chance.choice(shop.QUESTIONS)}", {}
    if slug == "refunds":
        return (
            f"{order['customer']} says {chance.choice(shop.COMPLAINTS)}: decide ticket {ticket} about order {number}",
            {},
        )
    return f"Ship order {number}, {order['item']}, to {order['customer']} in {order['city']}", {"order": number}
