"""Autonomy is earned, proposed, ratified and lost: an agent uses a tool at a milder tier while it shows that it may.

The tick proposes and the governance role decides, never whoever owns the agent. What was earned and should not
have been is lost without asking anybody (`watching`).
"""

from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from agents import errors, signals
from agents.audit import log as audit
from agents.contracts import Json
from agents.models import Agent, AuditEntry, Autonomy, Permission, User
from agents.registry import earning
from approvals.learning import criteria, evidence
from approvals.learning.evidence import Evidence
from approvals.learning.models import Proposal

RATIFY, DECLINE = "ratify", "decline"
ANSWERS = (RATIFY, DECLINE)
NO_LONGER = "The evidence no longer meets the criteria."


def refusal(agent: Agent, seen: Evidence) -> str:
    """Why an agent is not proposed for a milder tier: what never graduates, or the criteria that it does not meet."""
    held = criteria.current()
    if never := evidence.floored(seen, mildest=earning.floor(seen.tool), never=held.never):
        return never
    unmet = [one for one in evidence.requirements(seen, held.of_tier(seen.tier - 1)) if not one.is_met]
    return "; ".join(f"{one.name.lower()}: {one.wanted}, there is {one.found}" for one in unmet)


# --- what the tick does -----------------------------------------------------------------------------------------------
def consider() -> int:
    """Open a proposal for whatever has earned one, and close those that no longer hold. Any number of ticks may."""
    changed = sum(_withdraw_stale(one) for one in Proposal.objects.filter(state=Proposal.State.OPEN))
    for agent in Agent.objects.filter(release__isnull=False).select_related("release", "team", "owner").iterator():
        assert agent.release
        changed += sum(_propose(agent, tool) for tool in agent.release.bundle.get("tools", ()))
    return changed


def _propose(agent: Agent, tool: str) -> bool:
    if Proposal.objects.filter(agent=agent, tool=tool, state=Proposal.State.OPEN).exists():
        return False
    seen = evidence.gather(agent, tool)
    if seen is None or refusal(agent, seen) or _was_declined_lately(agent, seen):
        return False
    with transaction.atomic():
        made = Proposal(agent=agent, tool=tool, before=seen.tier, after=seen.tier - 1, evidence=seen.kept)
        Proposal.objects.bulk_create([made], ignore_conflicts=True)  # another tick may be a moment faster
        if not Proposal.objects.filter(pk=made.pk).exists():
            return False
        _tell("autonomy.proposed", made, by=None, reason=str(made))
    return True


def _was_declined_lately(agent: Agent, seen: Evidence) -> bool:
    """Nobody is asked again before as much time has passed as the criteria want to see."""
    rest = timedelta(days=criteria.current().of_tier(seen.tier - 1).days)
    declined = Proposal.objects.filter(agent=agent, tool=seen.tool, state=Proposal.State.DECLINED)
    return declined.filter(closed_at__gt=timezone.now() - rest).exists()


def _withdraw_stale(proposal: Proposal) -> bool:
    seen = evidence.gather(proposal.agent, proposal.tool)
    if seen is not None and seen.tier == proposal.before and not refusal(proposal.agent, seen):
        return False
    with transaction.atomic():
        return _close(proposal, Proposal.State.WITHDRAWN, by=None, reason=NO_LONGER)


# --- what people do ---------------------------------------------------------------------------------------------------
def decide(proposal: Proposal, *, answer: str, by: User, reason: str, request_id: UUID) -> Proposal:
    """Ratify or decline. Ratified, the milder tier holds from the agent's next step on."""
    if answer not in ANSWERS:
        raise errors.Invalid(f"`answer` is {answer!r}; it can be {' or '.join(ANSWERS)}.", field="answer")
    earning.require_governance(proposal.agent, by=by, verb=f"autonomy.{answer}", request_id=request_id)
    if answer == RATIFY:
        earning.require_person(proposal.agent, by=by, verb=f"autonomy.{answer}", request_id=request_id)
    if not reason.strip():
        raise errors.Invalid("Say why; the next person will ask.", field="reason")
    return _decide(proposal.pk, answer, by=by, reason=reason.strip(), request_id=request_id)


@transaction.atomic
def _decide(pk: UUID, answer: str, *, by: User, reason: str, request_id: UUID) -> Proposal:
    Agent.objects.select_for_update(of=("self",), no_key=True).only("pk").get(proposals=pk)
    related = ("agent__release", "agent__team", "agent__owner", "closed_by")
    proposal: Proposal = Proposal.objects.select_for_update(of=("self",)).select_related(*related).get(pk=pk)
    if proposal.request_id == request_id:
        return proposal
    if not proposal.is_open:
        by_whom = f" by {proposal.closed_by.name}" if proposal.closed_by else ""
        raise errors.Conflict(f"This proposal was {proposal.state}{by_whom} already. Your answer changed nothing.")
    if answer == DECLINE:
        _close(proposal, Proposal.State.DECLINED, by=by, reason=reason, request_id=request_id)
        return proposal
    seen = evidence.gather(proposal.agent, proposal.tool)
    if seen is None or seen.tier != proposal.before or refusal(proposal.agent, seen):
        raise errors.Conflict(f"{NO_LONGER} Nothing was changed; the next tick withdraws it.")
    proposal.evidence = {**seen.kept, "opened": proposal.evidence}
    proposal.autonomy = earning.grant(
        proposal.agent, tool=proposal.tool, to=proposal.after, by=by, reason=reason, request_id=request_id
    )
    _close(proposal, Proposal.State.RATIFIED, by=by, reason=reason, request_id=request_id)
    return proposal


def demote(autonomy: Autonomy, *, by: User, reason: str, request_id: UUID) -> bool:
    """Back to the tier of the release, by a person: whoever may steer the agent, at once."""
    if not by.may(Permission.STEER, autonomy.agent.team_id):
        why = f"Taking autonomy from {autonomy.agent} takes the role operator or governance in {autonomy.agent.team}."
        audit.refuse("autonomy.withdrawn", about=autonomy.agent, by=by, because=why, request_id=request_id)
    if not reason.strip():
        raise errors.Invalid("Say why; the next person will ask.", field="reason")
    if not earning.withdraw(autonomy, by=by, because=reason.strip(), request_id=request_id):
        told = AuditEntry.objects.filter(verb="autonomy.withdrawn", by=by, request_id=request_id)
        if not told.filter(detail__autonomy=str(autonomy.pk), outcome=AuditEntry.Outcome.DONE).exists():
            raise errors.Conflict("It was withdrawn already; the tier of the release holds.")
    return True


def _close(
    proposal: Proposal, state: Proposal.State, *, by: User | None, reason: str, request_id: UUID | None = None
) -> bool:
    """Compare-and-set: of two who answer at once, the second is told."""
    fields = {"state": state, "closed_at": timezone.now(), "closed_by": by, "reason": reason, "request_id": request_id}
    fields |= {"evidence": proposal.evidence, "autonomy": proposal.autonomy}
    if not Proposal.objects.filter(pk=proposal.pk, state=Proposal.State.OPEN).update(**fields):
        return False
    for name, value in fields.items():
        setattr(proposal, name, value)
    _tell(f"autonomy.{state}", proposal, by=by, reason=reason, request_id=request_id)
    return True


def _tell(verb: str, proposal: Proposal, *, by: User | None, reason: str, request_id: UUID | None = None) -> None:
    detail: Json = {
        "proposal": str(proposal.pk),
        "tool": proposal.tool,
        "before": proposal.before,
        "after": proposal.after,
    }
    audit.record(verb, about=proposal.agent, by=by, reason=reason, request_id=request_id, **detail)
    signals.agent_changed.send(Agent, agent_id=proposal.agent_id)
