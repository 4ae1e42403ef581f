"""Giving a grant, finding the one that covers an act, using it, and taking it back.

It is looked for when gates hold an act, and proven again in the transaction that writes the intent: a grant that was
revoked between the two lets nothing through, and a person is asked.
"""

from uuid import UUID

from django.db import transaction
from django.utils import timezone

from agents import errors
from agents.audit import log as audit
from agents.contracts import Action, Json, Verdict
from agents.models import AuditEntry, Permission, User
from approvals import integrity, limits, terms
from approvals.models import Approval, Decision
from approvals.run_grants import bounds
from approvals.run_grants.models import RunGrant, RunGrantUse

FACT = "run_grant"
"""What an action says that a grant covers: its id, and the digest of exactly what it was found to cover."""


def give(approval: Approval, decision: Decision, records: list[Json]) -> RunGrant:
    """Keep a grant with the decision that gives it, once. Call in the transaction of the decision."""
    grant, is_new = RunGrant.objects.get_or_create(
        decision=decision,
        defaults={
            "run_id": approval.run_id,
            "team_id": approval.team_id,
            "by": decision.by,
            "tool": approval.tool,
            "gates": sorted({one["gate"] for one in approval.reasons}),
            "bound": bounds.basis(decision.bound or approval.bound),
            "records": records,
        },
    )
    if is_new:
        what: Json = {"run": str(approval.run_id), "tool": approval.tool, "records": records}
        audit.record("run_grant.given", about=grant, by=decision.by, reason=decision.reason, **what)
    return grant


def waives(action: Action, verdict: Verdict) -> bool:
    """Whether a person has let this through already for the rest of the run; the action then says by which grant."""
    is_plain = action.kind == "tool" and action.answer is None and action.compensates is None
    if not is_plain or action.tier >= 4:
        return False
    open_grants = list(RunGrant.objects.filter(run_id=action.run_id, tool=action.name, revoked_at=None))
    asked = terms.of(verdict) if open_grants else None
    if asked is None or asked.level > 1 or asked.votes > 1 or asked.zone == Approval.Zone.RED:
        return False
    facts, who = integrity.bound(action), {one["gate"] for one in asked.reasons}
    alike = [one for one in open_grants if one.bound == bounds.basis(facts) and who <= set(one.gates)]
    records = list(bounds.touched(action)) if alike else []
    for grant in alike:
        if bounds.covers(grant.records, records):
            action.facts[FACT] = {"id": str(grant.pk), "digest": integrity.digest(facts, action.arguments)}
            return True
    return False


def use(action: Action) -> bool:
    """Prove that a grant lets exactly this through now, and keep that it did; False where none was found for it.

    Call in the transaction that writes the intent. Raises `Moved` where it counts no more: then a person is asked.
    """
    noted = action.facts.get(FACT)
    if noted is None or action.answer is not None:
        return False
    digest = integrity.digest(integrity.bound(action), action.arguments)
    grant = RunGrant.objects.select_for_update().filter(pk=UUID(noted["id"]), run_id=action.run_id).first()
    if grant is None or grant.revoked_at is not None:
        raise errors.Moved(f"{action.name} was let through for the rest of this run, which has been revoked.")
    if noted["digest"] != digest:
        raise errors.Moved(f"This is not what was let through for the rest of the run: {action.name} has changed.")
    kept = {"grant": grant, "says": action.says, "digest": digest}
    _, is_new = RunGrantUse.objects.get_or_create(run_id=action.run_id, seq=action.seq, defaults=kept)
    if is_new:
        what: Json = {"run": str(action.run_id), "seq": action.seq, "tool": action.name, "digest": digest}
        audit.record("run_grant.used", about=grant, by=None, reason=action.says, **what)
    return True


def revoke(grant: RunGrant, *, by: User, reason: str) -> RunGrant:
    """Ask about every act again; what has begun already goes on. Doing it twice is doing it once."""
    limits.require_short(reason)
    may = by.may(Permission.DECIDE, grant.team_id) or by.may(Permission.STEER, grant.team_id)
    if not may:
        why = f"Revoking takes the role reviewer or operator in {grant.team}."
        denied = AuditEntry.Outcome.DENIED
        audit.record("run_grant.revoked", about=grant, by=by, reason=why, outcome=denied, run=str(grant.run_id))
        raise errors.Forbidden(why)
    with transaction.atomic():
        found: RunGrant = RunGrant.objects.select_for_update(of=("self",)).select_related("team").get(pk=grant.pk)
        if found.revoked_at is None:
            found.revoked_at, found.revoked_by, found.revoked_because = timezone.now(), by, reason.strip()
            found.save(update_fields=["revoked_at", "revoked_by", "revoked_because"])
            audit.record("run_grant.revoked", about=found, by=by, reason=reason.strip(), run=str(found.run_id))
    return found
