"""Which tools an agent may use: the rules a tool must meet to be published, and the grants that follow a release."""

from django.utils import timezone

from agents import errors
from agents.people.models import User
from agents.registry import declarations
from agents.registry.bundles import Json
from agents.registry.declarations import Declaration
from agents.registry.models import Agent, Tool, ToolGrant


def require_fit(tool: Declaration, tier: int | None) -> None:
    """A tool that a release names has to be one that people can judge, at a tier that its author answers for."""
    if tool.tier not in range(1, 5):
        raise errors.Invalid(f"tools: {tool.name} ({tool.source}) declares tier {tool.tier!r}; tiers are 1 to 4.")
    if tool.floor not in range(1, tool.tier + 1):
        raise errors.Invalid(
            f"tools: {tool.name} ({tool.source}) declares floor {tool.floor!r} at tier {tool.tier}; a release may make "
            "it milder down to its floor, which is its tier or below.",
            field="tools",
        )
    missing = [
        door
        for door, there in (("says", tool.says_what_it_does), ("touches", tool.says_what_it_touches))
        if tool.writes and not there
    ]
    if missing:
        raise errors.Invalid(
            f"tools: {tool.name} ({tool.source}) writes but has no {' and no '.join(missing)}. Nobody could judge an "
            "act that cannot be told in a sentence and by the records it touches; add them to its declaration.",
            field="tools",
        )
    if tool.compensation:
        _require_way_back(tool)
    if tier is not None and tier < tool.floor:
        allowed = f"its floor is {tool.floor}" if tool.floor != tool.tier else f"it is declared tier {tool.tier}"
        raise errors.Invalid(
            f"[tiers] {tool.name} is {tier}, but {allowed} ({tool.source}). A release may be stricter than a tool; "
            f"to let releases be milder, declare the tool with floor={tier}.",
            field="tiers",
        )


def _require_way_back(tool: Declaration) -> None:
    """What a tool names as its compensation has to be there, to act, and to find all that it needs in what was done."""
    place = f"tools: {tool.name} ({tool.source}) names {tool.compensation} as its compensation, but"
    try:
        back = declarations.find(tool.compensation)
    except errors.Missing as error:
        raise errors.Invalid(f"{place} {error.message[0].lower()}{error.message[1:]}", field="tools") from error
    if not back.writes:
        raise errors.Invalid(
            f"{place} {back.name} ({back.source}) only reads and takes nothing back; declare it with writes=True.",
            field="tools",
        )
    known = set(tool.schema.get("properties", ())) | (tool.result_names or set())
    missing = [name for name in back.schema.get("required", ()) if name not in known]
    if missing and tool.result_names is not None:
        raise errors.Invalid(
            f"{place} {back.name} ({back.source}) requires {' and '.join(missing)}, which neither the result nor the "
            f"arguments of {tool.name} hold. Return it, or give it a default.",
            field="tools",
        )


def grant(agent: Agent, content: Json, declared: dict[str, Declaration], *, by: User | None) -> None:
    """Keep the tools as they are declared now; grant those of the release, withdraw the others."""
    for name, tool in declared.items():
        Tool.objects.update_or_create(name=name, defaults=_row(tool))
        ToolGrant.objects.update_or_create(
            agent=agent,
            tool_id=name,
            defaults={"tier": content["tiers"].get(name), "revoked_at": None},
            create_defaults={"tier": content["tiers"].get(name), "granted_by": by},
        )
    agent.grants.filter(revoked_at=None).exclude(tool_id__in=declared).update(revoked_at=timezone.now())


def _row(tool: Declaration) -> Json:
    return {
        "description": tool.description,
        "schema": tool.schema,
        "writes": tool.writes,
        "tier": tool.tier,
        "idempotent": tool.idempotent,
        "compensation": tool.compensation,
        "undoable_for": tool.undoable_for,
        "timeout": tool.timeout,
        "source": tool.source[-200:],
    }
