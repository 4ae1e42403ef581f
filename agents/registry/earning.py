"""Milder tiers that agents have earned: put in force by governance, ended by whoever notices that they were not right.

Whether an agent has earned one is for those to say who judge its acts; here is what it takes to put it in force, and
that drivers hear of it at their next write, as they do of overrides.
"""

from uuid import UUID

from django.db import transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from agents import errors, signals
from agents.audit import log as audit
from agents.contracts import Risk
from agents.people import factors, proving
from agents.people.assurance import Door
from agents.people.models import Permission, User
from agents.registry import declarations, parameters
from agents.registry.bundles import Json
from agents.registry.models import Agent, Autonomy

MILDEST, STRICTEST = 1, 4
REPLACED = "A milder one took its place."
IN_BROWSER = (
    "A person gives an agent more autonomy in the browser, with a second factor; a token may decline or take it away."
)
NO_FACTOR = "Giving an agent more autonomy takes a second factor, and you have none yet."


def in_force(agent: Agent) -> QuerySet[Autonomy]:
    """What an agent has earned and not lost."""
    return Autonomy.objects.filter(agent=agent, ended_at=None).select_related("granted_by").order_by("tool")


def released(agent: Agent, tool: str) -> int | None:
    """The tier that the release of an agent says for a tool; None for what it may not use."""
    bundle = agent.release.bundle if agent.release else {}
    return parameters.value(bundle, f"tiers.{tool}") if tool in bundle.get("tools", ()) else None


def tier(agent: Agent, tool: str) -> int | None:
    """The tier at which an agent uses a tool now, overrides aside."""
    said = released(agent, tool)
    earned = in_force(agent).filter(tool=tool).first()
    return earned.tier if earned and earned.was == said else said


def floor(tool: str) -> int:
    """The mildest tier that the author of a tool answers for; of one that nobody declares here, the strictest."""
    try:
        return declarations.find(tool).floor
    except errors.Missing:
        return STRICTEST


def is_high_risk(agent: Agent, tool: str) -> bool:
    """Whether an act of this tool asks a person each time, so that no tier of it is ever milder."""
    bundle = agent.release.bundle if agent.release else {}
    return declarations.risk_of(bundle, tool, writes=True) == Risk.HIGH


def require_governance(agent: Agent, *, by: User, verb: str, request_id: UUID) -> None:
    """Milder tiers are for the role governance, and never for whoever owns the agent. An attempt is kept."""
    why = refusal(agent, by)
    if why:
        audit.refuse(verb, about=agent, by=by, because=why, request_id=request_id)


def refusal(agent: Agent, by: User) -> str:
    """Why this person may not give an agent a milder tier; empty when they may. Needs team and owner."""
    if not by.may(Permission.PUBLISH, agent.team_id):
        return f"Giving {agent} more autonomy takes the role governance in {agent.team}."
    if agent.owner and by.hands & agent.owner.hands:
        return f"You own {agent}, or stand behind whoever does; somebody else gives it more autonomy."
    return ""


def needs_person(by: User) -> str:
    """Why this account gives no agent more autonomy however it is asked; empty for a person with a second factor in the
    browser. Who came through no door has the installation in hand anyway."""
    if by.assurance.door == Door.TOKEN:
        return IN_BROWSER
    return NO_FACTOR if by.assurance.door == Door.BROWSER and not factors.kinds(by) else ""


def require_person(agent: Agent, *, by: User, verb: str, request_id: UUID) -> None:
    """Refuse tokens, and whoever has not shown a second factor just now. An attempt is kept."""
    why = needs_person(by)
    if not why and by.assurance.door == Door.BROWSER:
        try:
            proving.require_fresh(by, "Giving an agent more autonomy")
        except errors.Forbidden as error:
            why = error.message
    if why:
        audit.refuse(verb, about=agent, by=by, because=why, request_id=request_id)


def grant(agent: Agent, *, tool: str, to: int, by: User, reason: str, request_id: UUID) -> Autonomy:
    """Let an agent use a tool at a milder tier from its next step on. The same request id is the same grant."""
    require_governance(agent, by=by, verb="autonomy.granted", request_id=request_id)
    require_person(agent, by=by, verb="autonomy.granted", request_id=request_id)
    if not reason.strip():
        raise errors.Invalid("Say on what evidence; the next person will ask.", field="reason")
    return _grant(agent, tool, to, by=by, reason=reason.strip(), request_id=request_id)


@transaction.atomic
def _grant(agent: Agent, tool: str, to: int, *, by: User, reason: str, request_id: UUID) -> Autonomy:
    _lock(agent)
    if found := Autonomy.objects.filter(request_id=request_id).first():
        if (found.agent_id, found.tool, found.tier) != (agent.pk, tool, to):
            raise errors.Conflict("This request id was used for something else; make a new one.", field="request_id")
        return found
    said, least = released(agent, tool), floor(tool)
    if said is None or said >= STRICTEST or not max(MILDEST, least) <= to < said:
        raise errors.Conflict(_not_to(agent, tool, to, said, least))
    if is_high_risk(agent, tool):
        raise errors.Conflict(f"{tool} is high risk: a person is asked each time, whatever an agent has shown.")
    for former in Autonomy.objects.filter(agent=agent, tool=tool, ended_at=None).select_for_update():
        _end(former, by=by, because=REPLACED)
    made = Autonomy.objects.create(
        agent=agent, tool=tool, was=said, tier=to, granted_by=by, reason=reason, request_id=request_id
    )
    _told("autonomy.granted", made, by=by, reason=reason, request_id=request_id)
    return made


@transaction.atomic
def withdraw(autonomy: Autonomy, *, by: User | None, because: str, request_id: UUID | None = None) -> bool:
    """Back to what the release says, from the next step on; False where it was withdrawn before. `by=None` is the
    engine."""
    agent = autonomy.agent
    _lock(agent)
    found = Autonomy.objects.select_for_update().filter(pk=autonomy.pk, ended_at=None).first()
    if found is None:
        return False
    _end(found, by=by, because=because)
    _told("autonomy.withdrawn", found, by=by, reason=because, request_id=request_id)
    return True


def _end(one: Autonomy, *, by: User | None, because: str) -> None:
    one.ended_at, one.ended_by, one.ended_because = timezone.now(), by, because
    one.save(update_fields=["ended_at", "ended_by", "ended_because"])


def _lock(agent: Agent) -> None:
    """One change at a time of an agent; what refers to it is not kept waiting."""
    Agent.objects.select_for_update(of=("self",), no_key=True).only("pk").get(pk=agent.pk)


def _told(verb: str, one: Autonomy, *, by: User | None, reason: str, request_id: UUID | None) -> None:
    """Kept in the audit log; drivers hear of it by their next write, whoever looks by the signal."""
    detail: Json = {"autonomy": str(one.pk), "tool": one.tool, "was": one.was, "tier": one.tier}
    audit.record(verb, about=one.agent, by=by, reason=reason, request_id=request_id, **detail)
    Agent.objects.filter(pk=one.agent_id).update(tuning=F("tuning") + 1)
    signals.agent_changed.send(Agent, agent_id=one.agent_id)


def _not_to(agent: Agent, tool: str, to: int, said: int | None, least: int) -> str:
    if said is None:
        return f"The release of {agent} does not use {tool}."
    if said >= STRICTEST:
        return f"{tool} is manual (tier 4): a person does it, whatever an agent has shown."
    if to < least:
        return f"{tool} never goes below tier {least}: its author declared floor={least}."
    return f"{agent} uses {tool} at tier {said} by its release; tier {to} is not milder."
