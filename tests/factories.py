"""The least that a test needs, as plain functions: what is not said is chosen, what is said is taken as it is."""

from itertools import count
from typing import Any

from agents.models import Agent, Release, Run, Step, Team, User
from agents.people import accounts
from agents.runs import starting

_numbers = count(1)


def team(slug: str = "service") -> Team:
    """The team of that slug."""
    found, _ = Team.objects.get_or_create(slug=slug, defaults={"name": slug.capitalize()})
    return found


def person(username: str, role: str, *, of: Team | None = None) -> User:
    """Somebody with one role, in a team or everywhere; they sign in with their name and `-opens-doors`."""
    return accounts.create_user(username, role=role, team=of, password=f"{username}-opens-doors", by=None)


def agent(slug: str = "", *, of: Team | None = None, **fields: Any) -> Agent:
    """An agent with a release that asks a simulated model."""
    slug = slug or f"agent-{next(_numbers)}"
    made: Agent = Agent.objects.create(
        **{"slug": slug, "name": slug.capitalize(), "team": of or team(), "use_case": "service"} | fields
    )
    made.release = release(made)
    made.save(update_fields=["release"])
    return made


def release(agent: Agent, **bundle: Any) -> Release:
    """A release of that agent, not yet the one it runs; `bundle` overrides what is in it."""
    number = next(_numbers)
    content = {
        "agent": {"slug": agent.slug},
        "version": f"1.{number}",
        "program": "llm",
        "models": [{"provider": "simulated", "model": "sim-small"}],
        "tools": [],
        "limits": {"steps": 20},
        **bundle,
    }
    made: Release = Release.objects.create(
        agent=agent,
        version=content["version"],
        digest=f"{number:064x}",
        program=content["program"],
        bundle=content,
        state=Release.State.RETIRED if agent.release_id else Release.State.LIVE,
    )
    return made


def run(agent: Agent, *, by: User | None = None, objective: str = "Look at the ticket.", **how: Any) -> Run:
    """A queued run, started as anybody starts one."""
    return starting.start(agent, objective=objective, by=by, **how)


def step(run: Run, **fields: Any) -> Step:
    """A step that is done, behind those the run has."""
    seq = fields.pop("seq", None) or run.steps.count() + 1
    made: Step = Step.objects.create(
        **{
            "run": run,
            "seq": seq,
            "turn": seq,
            "agent_id": run.agent_id,
            "kind": Step.Kind.TOOL,
            "name": "orders.read",
            "state": Step.State.DONE,
        }
        | fields
    )
    return made
