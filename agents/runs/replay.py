"""Replaying recorded runs: the agent and release that a recording speaks of, the run that follows it, how far it came.

Apart from `recorded/`, which reads files and knows no database, and from publishing: nobody writes the release of a
recorded agent. It is what the recording says of prompt, tools and model, so the same recording finds it again.
"""

from collections.abc import Collection, Iterator, Sequence
from uuid import UUID

from django.db import transaction
from django.db.models import Count, Q, Sum

from agents import errors, signals
from agents.audit import log as audit
from agents.contracts import Json, Tier
from agents.models import Agent, Recording, Release, Run, Step, Team, User
from agents.runs import starting
from agents.runs.recorded.content import content, digest
from agents.runs.recorded.recording import Counts, RecordedTool
from agents.runs.recorded.recording import Recording as Recorded
from agents.runs.recorded.tally import TOKENS

PROGRAM = "recorded"
LONGEST_SLUG = Agent._meta.get_field("slug").max_length or 80
LONGEST_NAME = Agent._meta.get_field("name").max_length or 120
COLUMNS = dict(zip(TOKENS, ("tokens_in", "tokens_out", "cache_read", "cache_write"), strict=True))
"""The token figures of a recording and the columns of a step that hold them."""


@transaction.atomic
def enqueue(recorded: Recorded, *, release: Release, by: User | None = None) -> Run:
    """Queue one run of that release that follows the recording, which is kept with it: both or neither.

    Started by nobody (`by=None`), so that every reviewer may decide what it asks: a starter could not.
    """
    what = content(recorded)
    kept, _ = Recording.objects.get_or_create(
        digest=digest(what), defaults={"source_id": recorded.run_id, "content": what}
    )
    return starting.start(
        release.agent,
        objective=recorded.objective,
        by=by,
        input={"recording": str(kept.pk)},
        queue=Run.Queue.BULK,
        release=release,
    )


@transaction.atomic
def register(slug: str, recorded: Recorded, *, team: Team, by: User | None = None) -> Release:
    """The release of this recording's agent. Equal content finds the one there is; other content is a new version."""
    agent = _agent(recorded, team=team, by=by, slug=slug)
    what = {"agent": {"slug": agent.slug, "name": agent.name}, **bundle(recorded)}
    name = digest(what)
    found: Release | None = agent.releases.select_related("agent__team").filter(digest=name).first()
    return found or _publish(agent, what, name, by=by)


def slug(recorded: Recorded, *, prefix: str = "") -> str:
    """Dataset and agent name, shortened by its digest where that is too long for a slug."""
    whole = prefix + recorded.slug
    if len(whole) <= LONGEST_SLUG:
        return whole
    return f"{whole[: LONGEST_SLUG - 9]}-{digest({'slug': whole})[:8]}"


def bundle(recorded: Recorded) -> Json:
    """What was recorded of the agent itself. A tool it called without being offered it is not part of its release."""
    offered = {tool.name: tool for tool in recorded.tools if tool.is_offered}
    return {
        "program": PROGRAM,
        "models": [{"provider": PROGRAM, "model": recorded.model or ""}],
        "model_source": recorded.model_source,
        "prompts": {"system": recorded.system.text if recorded.system else None},
        "prompt_kind": recorded.system.kind if recorded.system else None,
        "prompt_sha256": recorded.system.sha256 if recorded.system else None,
        "tools": list(offered),
        "tiers": {},
        "tool_types": dict(recorded.tool_types),
        "tool_schemas": {name: _described(tool) for name, tool in offered.items()},
        "settings": dict(recorded.llm_args or {}),
        "implementation": recorded.implementation,
        "organisation": recorded.organisation,
        "source": {name: recorded.source.get(name) for name in ("dataset", "repo", "commit", "license")},
        "limits": {"steps": 1_000_000},
    }


def _described(tool: RecordedTool) -> Json:
    """A tool as releases keep it; where the list gave a signature and no JSON Schema, any arguments fit."""
    schema = dict(tool.parameters or {})
    is_write = tool.tier >= Tier.ASSISTED
    return {"description": tool.description or "", "schema": schema, "tier": tool.tier, "writes": is_write}


def _agent(recorded: Recorded, *, team: Team, by: User | None, slug: str) -> Agent:
    """The agent of that slug, made when it is new. One that does other work is never taken over."""
    source = recorded.source.get("repo") or "an unnamed source"
    agent, is_new = Agent.objects.get_or_create(
        slug=slug,
        defaults={
            "name": f"{recorded.agent} ({recorded.dataset})"[:LONGEST_NAME],
            "team": team,
            "purpose": f"Recorded in {source}: its runs are replayed, no model is asked and no tool is used.",
            "use_case": (recorded.domain or "")[:80],
        },
    )
    if is_new:
        audit.record("agent.registered", about=agent, by=by, source=str(source))
    elif agent.team_id != team.pk:
        raise errors.Conflict(
            f"The agent {slug} belongs to {agent.team}; replay for that team, or with another prefix."
        )
    elif agent.releases.exclude(program=PROGRAM).exists():
        raise errors.Conflict(f"The agent {slug} does real work; choose another prefix for the recorded one.")
    return agent


def _publish(agent: Agent, what: Json, name: str, *, by: User | None) -> Release:
    """A new version, live at once; the one before it is retired, and its runs stay pinned to it."""
    Agent.objects.select_for_update().get(pk=agent.pk)  # two replays at once: one publishes, the other finds
    if agent.releases.filter(digest=name).exists():
        twin: Release = agent.releases.get(digest=name)
        return twin
    version = str(agent.releases.count() + 1)
    agent.releases.filter(state=Release.State.LIVE).update(state=Release.State.RETIRED)
    release: Release = Release.objects.create(
        agent=agent, version=version, digest=name, program=PROGRAM, bundle=what, published_by=by
    )
    agent.release = release
    agent.save(update_fields=["release"])
    audit.record("release.published", about=release, by=by, agent=agent.slug, version=version, digest=name)
    signals.agent_changed.send(Agent, agent_id=agent.pk)
    return release


def states(run_ids: Collection[UUID]) -> dict[UUID, str]:
    """Where each of these runs is."""
    return dict(Run.objects.filter(pk__in=run_ids).values_list("pk", "state"))


def arrived(run_ids: Sequence[UUID]) -> Iterator[tuple[UUID, Counts]]:
    """What the engine counted of each run, to be held against its recording."""
    wholes = {run.pk: run for run in Run.objects.filter(pk__in=run_ids).only("tokens_in", "tokens_out")}
    figures = Step.objects.filter(run_id__in=run_ids, kind__in=["model", "tool"]).values("run_id").order_by("run_id")
    counts = figures.annotate(
        models=Count("seq", filter=Q(kind=Step.Kind.MODEL)),
        tools=Count("seq", filter=Q(kind=Step.Kind.TOOL)),
        failures=Count("seq", filter=Q(kind=Step.Kind.TOOL, state=Step.State.FAILED)),
        **{name: Sum(column) for name, column in COLUMNS.items()},
    )
    for row in counts:
        whole = wholes.pop(row["run_id"])
        told = {name: row[name] for name in TOKENS}
        if all(figure is None for figure in told.values()):  # counted for the run as a whole, if at all
            told |= {"input_tokens": whole.tokens_in or None, "output_tokens": whole.tokens_out or None}
        yield row["run_id"], Counts(row["models"], row["tools"], row["failures"], **told)
    yield from ((run_id, Counts()) for run_id in wholes)
