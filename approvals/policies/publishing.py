"""Publishing policies: from files to an immutable version, tried beside the one that holds, then enforced, and back.

Policies hold for every team, so whoever publishes them governs everywhere. Denied attempts are kept in the audit log.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from uuid import UUID

import cedarpy
import rfc8785
from django.db import IntegrityError, transaction
from django.utils import timezone

from agents import errors
from agents.audit import log as audit
from agents.contracts import Json
from agents.models import User
from agents.registry import bundles
from approvals.policies import authority, cases, loaded, rules, speaking, surface
from approvals.policies.authority import ALL
from approvals.policies.engine import PolicyEngine
from approvals.policies.models import PolicySet

State = PolicySet.State


def read(path: Path) -> tuple[dict[str, str], list[Json]]:
    """Policies and cases of a `.cedar` file and the `.toml` beside it, or of all such files in a folder."""
    if path.is_dir():
        sources, beside = sorted(path.glob("*.cedar")), sorted(path.glob("*.toml"))
    else:
        sources = [path]
        beside = [one for one in [path.with_suffix(".toml")] if one.exists()]
    if not sources:
        raise errors.Missing(f"{path} holds no file that ends with .cedar.")
    files = {source.name: _text(source) for source in sources}
    return files, [case for file in beside for case in cases.read(bundles.read(file), file.name)]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise errors.Missing(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise errors.Invalid(f"{path} is not text: {error}.") from error


def built(files: Mapping[str, str], given: Json) -> PolicyEngine:
    """An engine of these policies. Raises `errors.Invalid` that names every bad one."""
    rules.check(files, cedarpy.Schema.from_json_str(surface.to_cedar(given)))
    return PolicyEngine("\n".join(text for _, text in sorted(files.items())), given)


def require_cases(engine: PolicyEngine, given: Sequence[Json]) -> None:
    """Refuse a set without cases, or with one that comes out otherwise than it must."""
    if not given:
        raise errors.Invalid(
            "There is no case. Write a .toml file of [[case]]s beside the policies: what they must allow, hold or "
            "deny. Only what is tried can be trusted.",
            field="cases",
        )
    if problems := [one.problem for one in cases.run(engine, given) if one.problem]:
        raise errors.Invalid(f"{len(problems)} of {len(given)} cases fail:\n" + "\n".join(problems), field="cases")


def publish(
    files: Mapping[str, str], given: Sequence[Json], *, by: User | None, request_id: UUID | None = None
) -> PolicySet:
    """Check everything, then keep it as the next version: a draft, which nothing obeys yet. The same content is the
    same version. Raises `errors.Invalid` or `errors.Forbidden`."""
    authority.require(by, "policy.published", ALL, request_id)
    tools = speaking.now()
    require_cases(built(files, tools), given)
    content: Json = {"files": dict(files), "cases": list(given), "surface": tools}
    digest = hashlib.sha256(rfc8785.dumps(content)).hexdigest()
    authority.was_done(request_id, "policy.published", by=by, digest=digest)
    found: PolicySet | None = PolicySet.objects.filter(digest=digest).first()
    if found is not None:
        return found
    try:
        return _keep(content, digest, by, request_id)
    except IntegrityError:
        raise errors.Conflict("Someone else published policies at the same moment. Look again.") from None


@transaction.atomic
def _keep(content: Json, digest: str, by: User | None, request_id: UUID | None) -> PolicySet:
    newest = PolicySet.objects.order_by("-number").values_list("number", flat=True).first()
    made = PolicySet.objects.create(number=(newest or 0) + 1, digest=digest, published_by=by, **content)
    told: Json = {"number": made.number, "digest": digest}
    audit.record("policy.published", about=made, by=by, request_id=request_id, **told)
    return made


def log_only(policy_set: PolicySet, *, by: User | None, reason: str = "", request_id: UUID | None = None) -> PolicySet:
    """Judge everything with this version too, and keep where it says something else; nothing obeys it."""
    authority.require(by, "policy.tried", policy_set, request_id)
    number = policy_set.number
    with transaction.atomic():
        if authority.was_done(request_id, "policy.tried", by=by, number=number):
            return policy_set
        _require_state(policy_set, {State.DRAFT, State.RETIRED}, "tried")
        PolicySet.objects.filter(state=State.LOG_ONLY).update(state=State.DRAFT)
        _move(policy_set, State.LOG_ONLY)
        audit.record("policy.tried", about=policy_set, by=by, reason=reason, request_id=request_id, number=number)
    return policy_set


def enforce(policy_set: PolicySet, *, by: User | None, reason: str, request_id: UUID | None = None) -> PolicySet:
    """From now on this version decides; every process follows within seconds."""
    authority.require_to_decide(by, "policy.enforced", policy_set, request_id)
    _require_reason(reason)
    number = policy_set.number
    with transaction.atomic():
        before = _lock_enforced()
        if authority.was_done(request_id, "policy.enforced", by=by, number=number):
            return policy_set
        _require_state(policy_set, {State.DRAFT, State.LOG_ONLY, State.RETIRED}, "enforced")
        _retire(before)
        _move(policy_set, State.ENFORCED, enforced_at=timezone.now(), enforced_by=by, replaced=before)
        told: Json = {"number": number, "before": before.number if before else None}
        audit.record("policy.enforced", about=policy_set, by=by, reason=reason, request_id=request_id, **told)
    return policy_set


def roll_back(
    *, by: User | None, reason: str, number: int | None = None, request_id: UUID | None = None
) -> PolicySet | None:
    """Enforce the version that the present one replaced; where it replaced none, no policy holds any more. With
    `number` only while that version holds: whoever presses twice goes back once. Returns what holds now."""
    authority.require_to_decide(by, "policy.rolled_back", ALL, request_id)
    _require_reason(reason)
    with transaction.atomic():
        now = _lock_enforced()
        wanted = {} if number is None else {"before": number}
        if authority.was_done(request_id, "policy.rolled_back", by=by, **wanted):
            return now
        if now is None:
            raise errors.Conflict("No policies are enforced, so there is nothing to go back from.")
        if number not in (None, now.number):
            raise errors.Conflict(f"Policies {number} are not what holds; policies {now.number} are. Look again.")
        before = now.replaced
        _retire(now)
        if before is not None:
            _move(before, State.ENFORCED, enforced_at=timezone.now(), enforced_by=by)
        told: Json = {"before": now.number, "number": before.number if before else None}
        audit.record("policy.rolled_back", about=before or now, by=by, reason=reason, request_id=request_id, **told)
    return before


def enforced() -> PolicySet | None:
    """The version that holds."""
    return PolicySet.objects.filter(state=State.ENFORCED).first()


def numbered(number: int) -> PolicySet:
    """The version of that number; raises `errors.Missing`."""
    found: PolicySet | None = PolicySet.objects.filter(number=number).first()
    if found is None:
        newest = PolicySet.objects.order_by("-number").values_list("number", flat=True).first()
        known = f"The newest is {newest}." if newest else "None has been published yet."
        raise errors.Missing(f"There are no policies {number}. {known}")
    return found


def _lock_enforced() -> PolicySet | None:
    """The version that holds, kept so to the commit: of two who change it at once, the second sees what the first
    did."""
    return (
        PolicySet.objects.select_for_update(of=("self",))
        .select_related("replaced")
        .filter(state=State.ENFORCED)
        .first()
    )


def _retire(policy_set: PolicySet | None) -> None:
    if policy_set is not None:
        _move(policy_set, State.RETIRED)


def _require_state(policy_set: PolicySet, allowed: set[State], what: str) -> None:
    policy_set.refresh_from_db(fields=["state"])
    if policy_set.state not in allowed:
        raise errors.Conflict(f"Policies {policy_set.number} are {policy_set.get_state_display()}; not {what} again.")


def _move(policy_set: PolicySet, to: State, **fields: object) -> None:
    """Compare-and-set: of two who press at once, one wins and one is told."""
    try:
        with transaction.atomic():
            moved = PolicySet.objects.filter(pk=policy_set.pk, state=policy_set.state).update(state=to, **fields)
    except IntegrityError:
        moved = 0
    if not moved:
        raise errors.Conflict(f"Someone else changed policies {policy_set.number} at the same moment. Look again.")
    policy_set.refresh_from_db()
    transaction.on_commit(loaded.forget, robust=True)


def _require_reason(reason: str) -> None:
    if not reason.strip():
        raise errors.Invalid("Say why: the reason is empty.", field="reason")
