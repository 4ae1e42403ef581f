"""Publishing: from a bundle to an immutable release that an agent runs, and back to an earlier one.

What a release can do is decided here once and kept with it: the tools it may use, as they declare themselves, and
their tiers. A release is named by the digest of all of that, so the same content is always the same release.
"""

import hashlib
from datetime import date, time

import rfc8785
from django.db import IntegrityError, transaction

from agents import errors, signals
from agents.audit import log as audit
from agents.people import teams
from agents.people.models import Permission, Team, User
from agents.registry import bundles, comparing, declarations, granting, outside, programs
from agents.registry.bundles import Json
from agents.registry.declarations import Declaration
from agents.registry.models import Agent, Release
from agents.registry.programs import program_digest

__all__ = ["draft", "program_digest", "publish", "roll_back"]

DELEGATION: Json = {
    "type": "object",
    "properties": {
        "objective": {"type": "string", "description": "what it is to achieve, in a sentence"},
        "input": {"type": "object", "description": "facts it needs, by name"},
    },
    "required": ["objective"],
    "additionalProperties": False,
}
"""What a model gives when it delegates."""
RECORDED = "recorded"
"""The program that replays what was recorded elsewhere: its tools are in nobody's catalogue."""


@transaction.atomic
def publish(bundle: Json, *, by: User | None) -> Release:
    """Check everything, then make the release that its agent runs from now on. The same content is the same release.

    Raises `errors.Invalid` naming table and key, `errors.Forbidden`, or `errors.Conflict` for a version that stands for
    other content. An earlier release published again stays retired: going back is `roll_back`, which asks why.
    """
    content, declared = _complete(bundle)
    team, owner = _responsible(content)
    _require(by, Permission.PUBLISH, team, "publish releases", "governance")
    agent = _agent(content, team, owner, by)
    previous, digest = agent.release, digest_of(content)
    if found := _existing(agent, content, digest):
        return found
    try:
        release = _make(agent, content, digest, by)
    except IntegrityError:  # the twin of this act was a moment faster
        if found := _existing(agent, content, digest):
            return found
        raise
    described = {name: content["agent"][name] for name in ("name", "purpose", "use_case", "environment")}
    _switch(agent, previous, release, team=team, owner=owner, **described)
    granting.grant(agent, content, declared, by=by)
    before = previous.version if previous else None
    audit.record("release.published", about=agent, by=by, version=release.version, digest=digest, before=before)
    signals.agent_changed.send(Agent, agent_id=agent.pk)
    return release


@transaction.atomic
def draft(bundle: Json, *, by: User | None) -> Release:
    """A release to try things with: in the sandbox only, under a version of its own, and no agent runs it by itself."""
    content, _ = _complete(bundle)
    team, owner = _responsible(content)
    _require(by, Permission.START, team, "try releases", "operator")
    content["version"] = f"{content['version'][:22]}-draft.{digest_of(content)[:8]}"
    fields = {"name": content["agent"]["name"], "team": team, "owner": owner, "environment": "sandbox"}
    agent, _ = Agent.objects.get_or_create(slug=content["agent"]["slug"], defaults=fields)
    _require(by, Permission.START, agent.team, "try releases", "operator")
    release, is_new = Release.objects.get_or_create(
        agent=agent,
        digest=digest_of(content),
        defaults={
            "version": content["version"],
            "program": content["program"],
            "bundle": content,
            "state": Release.State.DRAFT,
            "published_by": by,
        },
    )
    if is_new:
        audit.record("release.drafted", about=agent, by=by, version=release.version, digest=release.digest)
    return release


@transaction.atomic
def roll_back(agent: Agent, *, to: Release, by: User | None, reason: str) -> Release:
    """Run an earlier release again. Runs that have begun stay with the release they began with."""
    _require(by, Permission.PUBLISH, agent.team, "roll back releases", "governance")
    if not reason.strip():
        raise errors.Invalid("Say why: the reason is empty.", field="reason")
    if to.agent_id != agent.pk:
        raise errors.Invalid(f"{to} is not a release of {agent}.", field="to")
    to.refresh_from_db(fields=["state"])
    if to.state != Release.State.RETIRED:
        raise errors.Conflict(f"{to} is {to.state}; only a retired release can be rolled back to.")
    declared = _declared(to.bundle)
    previous = agent.release
    _switch(agent, previous, to)
    granting.grant(agent, to.bundle, declared, by=by)
    before = previous.version if previous else None
    audit.record("release.rolled_back", about=agent, by=by, reason=reason, version=to.version, before=before)
    signals.agent_changed.send(Agent, agent_id=agent.pk)
    return to


def digest_of(content: Json) -> str:
    """SHA-256 of the canonical form (RFC 8785): the same in every process, on every machine."""
    return hashlib.sha256(rfc8785.dumps(content)).hexdigest()


def _complete(bundle: Json) -> tuple[Json, dict[str, Declaration]]:
    """The checked bundle with its program known and its tools as they declare themselves."""
    _refuse_dates(bundle)
    content = bundles.checked(bundle)
    programs.sources(content["program"])
    declared = _declared(content)
    if content["program"] == bundles.OUTSIDE:
        content |= {"tools": list(declared), "tiers": {name: one.tier for name, one in declared.items()}}
    content["tool_schemas"] = {name: one.published for name, one in declared.items()} | _delegates(content)
    try:
        rfc8785.dumps(content)
    except rfc8785.CanonicalizationError as error:
        raise errors.Invalid(f"The release cannot be written as JSON: {error}.") from error
    return content, declared


def _delegates(content: Json) -> Json:
    """The agents that this one may delegate to, as its model is told of them."""
    offers = {}
    for slug in content.get("delegates", ()):
        agent = Agent.objects.filter(slug=slug).first()
        if agent is None:
            hint = declarations.alike(slug, Agent.objects.values_list("slug", flat=True))
            raise errors.Invalid(
                f"delegates: there is no agent {slug}. {hint or 'Publish it first.'}", field="delegates"
            )
        about = f"Have the agent {agent.name} do something. {agent.purpose}".strip()
        offers[f"delegate.{slug}"] = {"description": about, "schema": DELEGATION, "tier": 2, "writes": False}
    return offers


def _refuse_dates(value: object, place: str = "") -> None:
    """TOML knows dates, JSON does not."""
    if isinstance(value, date | time):
        raise errors.Invalid(f'{place} is a date; put it in quotes, "{value}".', field=place)
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        _refuse_dates(inner, f"{place}.{key}" if place else str(key))


def _declared(content: Json) -> dict[str, Declaration]:
    """The tools a release names, in its order; each has to exist and to be fit for its work."""
    if content["program"] == RECORDED:
        return {}
    if content["program"] == bundles.OUTSIDE:
        return outside.declared(content)
    found = {}
    for name in content["tools"]:
        try:
            found[name] = declarations.find(name)
        except errors.Missing as error:
            raise errors.Invalid(f"tools: {error.message}", field="tools") from error
        granting.require_fit(found[name], content["tiers"].get(name))
    return found


def _responsible(content: Json) -> tuple[Team, User]:
    """The team and the person a release names."""
    table = content["agent"]
    try:
        team = teams.named(table["team"], field="agent.team")
    except errors.Missing as error:
        raise errors.Invalid(f"[agent] team: {error.message}", field="agent.team") from error
    owner = User.objects.filter(username__iexact=table["owner"], kind=User.Kind.PERSON, is_active=True).first()
    if owner is None:
        sentence = (
            f"[agent] owner: there is nobody called {table['owner']!r}. A person who can sign in answers for an agent."
        )
        raise errors.Invalid(sentence, field="agent.owner")
    return team, owner


def _require(by: User | None, permission: Permission, team: Team, act: str, role: str) -> None:
    if by is not None and not by.may(permission, team.pk):
        raise errors.Forbidden(f"You may not {act} in {team}; that takes the role {role}.")


def _agent(content: Json, team: Team, owner: User, by: User | None) -> Agent:
    """The agent that the bundle names, new or as it is; moving one to another team needs both teams' leave."""
    table = content["agent"]
    fields = {"name": table["name"], "team": team, "owner": owner}
    agent: Agent
    agent, _ = Agent.objects.select_related("team", "release").get_or_create(slug=table["slug"], defaults=fields)
    _require(by, Permission.PUBLISH, agent.team, "publish releases", "governance")
    return agent


@transaction.atomic
def _make(agent: Agent, content: Json, digest: str, by: User | None) -> Release:
    return Release.objects.create(
        agent=agent,
        version=content["version"],
        digest=digest,
        program=content["program"],
        bundle=content,
        published_by=by,
    )


def _existing(agent: Agent, content: Json, digest: str) -> Release | None:
    """The release with this very content; a version that stands for another one is not given twice."""
    found: Release | None = Release.objects.filter(agent=agent, digest=digest).first()
    if found is not None:
        return found
    other = Release.objects.filter(agent=agent, version=content["version"]).first()
    if other is None:
        return None
    changes = [change.path for change in comparing.compare(other.bundle, content)]
    more = f" and {len(changes) - 3} more" if len(changes) > 3 else ""
    raise errors.Conflict(
        f"{agent} {other.version} is published already with other content ({', '.join(changes[:3])}{more}). "
        "Give this one a version of its own.",
        field="version",
    )


def _switch(agent: Agent, previous: Release | None, release: Release, **fields: object) -> None:
    """Compare-and-set: of two who publish at once, the second is told."""
    moved = Agent.objects.filter(pk=agent.pk, release=previous).update(release=release, **fields)
    if not moved:
        raise errors.Conflict(f"Someone else changed the release of {agent} at the same moment. Look again.")
    if previous is not None:
        Release.objects.filter(pk=previous.pk).update(state=Release.State.RETIRED)
    Release.objects.filter(pk=release.pk).update(state=Release.State.LIVE)
    agent.refresh_from_db()
    release.refresh_from_db()
