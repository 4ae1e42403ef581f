"""What operators change of a run, or of every run of an agent, for a time: made, taken back, ended by itself.

Each is one act under a request id. What drivers do with it is `tuning.py`; whether a value fits, `registry.parameters`.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from agents import errors, signals
from agents.audit import log as audit
from agents.contracts import Json
from agents.models import Agent, Override, Permission, Release, Run, User
from agents.registry import parameters

USUALLY = timedelta(hours=1)
LONGEST = timedelta(days=7)
"""For a whole agent: what shall hold for longer is a release."""

EXPIRED = "Its time was up: reverted by itself."
OVER = "The run ended: reverted by itself."


def override(
    subject: Run | Agent,
    *,
    parameter: str,
    value: Any,
    by: User,
    reason: str,
    request_id: UUID,
    expires_at: datetime | None,
    evidence: Json | None = None,
    over: str | None = None,
) -> Override:
    """Change a parameter from the next step on. `expires_at` None is until the run ends, which an agent's runs do not.
    `evidence` is what speaks for it, for the audit log. `over` is the id of the override that it is to replace, "" for
    none: where another stands by then, nothing is changed. None replaces whatever stands.

    Making things stricter takes STEER. Allowing money that the release does not is for those who answer for money
    (SPEND); showing fewer acts to people than the release promises is for those who publish releases (PUBLISH).
    """
    agent = subject.agent if isinstance(subject, Run) else subject
    bundle = _release(subject).bundle
    if not may(subject, by=by):
        _refuse("override.made", subject, Permission.STEER, by=by, what=parameter, request_id=request_id)
    fit = parameters.read(bundle, parameter, value, models=models(subject))
    needed = _needed(parameter, parameters.allowed(bundle, parameter), fit)
    if not by.may(needed, agent.team_id):
        _refuse("override.made", subject, needed, by=by, what=parameter, request_id=request_id)
    if not reason.strip():
        raise errors.Invalid(f"Say why you change {parameter}; the next person will ask.", field="reason")
    fields = {"by": by, "reason": reason.strip(), "expires_at": expires_at}
    return _make(subject, parameter, fit, request_id=request_id, evidence=evidence, over=over, **fields)


def may(subject: Run | Agent, *, by: User) -> bool:
    """Whether this person may change anything of it at all."""
    agent = subject.agent if isinstance(subject, Run) else subject
    return any(by.may(one, agent.team_id) for one in (Permission.STEER, Permission.SPEND, Permission.PUBLISH))


@transaction.atomic
def _make(
    subject: Run | Agent,
    parameter: str,
    value: Any,
    *,
    request_id: UUID,
    evidence: Json | None,
    over: str | None,
    **fields: Any,
) -> Override:
    _lock(subject)
    if found := Override.objects.filter(request_id=request_id).first():  # under the lock: its twin may be on the way
        if (_key(found), found.parameter, found.value) != (_key_of(subject), parameter, value):
            raise errors.Conflict("This request id was used for something else; make a new one.", field="request_id")
        return found
    _check_end(subject, fields["expires_at"])
    if isinstance(subject, Run) and subject.is_ended:
        raise errors.Conflict(f"This run is {subject.get_state_display().lower()}; nothing of it can be changed.")
    before = parameters.value(_release(subject).bundle, parameter)
    former = _of(subject).filter(parameter=parameter, ended_at=None).select_for_update().first()
    is_over = former is not None and former.expires_at is not None and former.expires_at <= timezone.now()
    _check_seen(parameter, None if is_over else former, over)
    if former:
        before = before if is_over else former.value
        _end(former, by=None if is_over else fields["by"], because=EXPIRED if is_over else "Another took its place.")
    if before == value:
        raise errors.Conflict(f"{parameter} is {parameters.shown(parameter, value)} already.")
    agent = subject.agent if isinstance(subject, Run) else subject
    run = subject if isinstance(subject, Run) else None
    made = Override.objects.create(
        run=run, agent=agent, parameter=parameter, before=before, value=value, request_id=request_id, **fields
    )
    detail = {"override": str(made.pk), "change": change(made), "before": before, "after": value}
    detail |= {"evidence": evidence} if evidence else {}
    until = made.expires_at.isoformat() if made.expires_at else None
    audit.record(
        "override.made", about=subject, by=made.by, reason=made.reason, request_id=request_id, until=until, **detail
    )
    _announce(subject)
    return made


def revert(subject: Run | Agent, *, parameter: str, by: User, reason: str = "", request_id: UUID) -> Override:
    """Back to what the release says, from the next step on. Whoever changed it may, and whoever steers."""
    if earlier := _reverted(subject, parameter, request_id):
        return earlier  # delivered again: what was changed since stays
    found = last(subject, parameter)
    is_theirs = found is not None and found.by_id == by.pk
    if not is_theirs and not by.may(Permission.STEER, subject.team_id):
        _refuse("override.reverted", subject, Permission.STEER, by=by, what=parameter, request_id=request_id)
    if found is None:
        raise errors.Conflict(f"{parameter} of {subject} is as its release says.", field="parameter")
    return _revert(found.pk, subject, by=by, reason=reason.strip(), request_id=request_id)


def _reverted(subject: Run | Agent, parameter: str, request_id: UUID) -> Override | None:
    """What an earlier request with this id took back, if it asked for the same."""
    known = Override.objects.select_related("by", "ended_by", "agent", "run")
    earlier: Override | None = known.filter(end_request_id=request_id).first()
    if earlier and (_key(earlier), earlier.parameter) != (_key_of(subject), parameter):
        raise errors.Conflict("This request id was used for something else; make a new one.", field="request_id")
    return earlier


@transaction.atomic
def _revert(pk: UUID, subject: Run | Agent, *, by: User, reason: str, request_id: UUID) -> Override:
    _lock(subject)
    found = Override.objects.select_for_update(of=("self",)).select_related("by", "ended_by", "agent", "run").get(pk=pk)
    if found.ended_at is not None:
        if found.ended_by_id == by.pk:  # asked twice: it is as was wanted
            return found
        raise errors.Conflict(f"{found.parameter} is back already. {found.ended_because}".strip())
    _end(found, by=by, because=reason, request_id=request_id)
    _announce(subject)
    return found


def expire(*, limit: int = 200) -> int:
    """End what has come to its end, and what belongs to runs that have: reverted by itself, and said so."""
    over = Q(expires_at__lte=Now()) | Q(run__finished_at__isnull=False)
    due = Override.objects.filter(over, ended_at=None)
    ended = 0
    for pk in list(due.order_by("made_at").values_list("pk", flat=True)[:limit]):
        with transaction.atomic():
            found = due.select_for_update(of=("self",), skip_locked=True).select_related("run", "agent")
            if one := found.filter(pk=pk).first():
                is_late = one.expires_at is not None and one.expires_at <= timezone.now()
                _end(one, by=None, because=EXPIRED if is_late or one.run is None else OVER)
                _announce(one.run or one.agent)
                ended += 1
    return ended


def in_force(subject: Run | Agent) -> list[Override]:
    """What is changed now for a run (its agent's included) or an agent, the widest first."""
    agent_id = subject.agent_id if isinstance(subject, Run) else subject.pk
    whose = Q(run=None) | Q(run=subject.pk) if isinstance(subject, Run) else Q(run=None)
    now = Q(expires_at=None) | Q(expires_at__gt=Now())
    rows = Override.objects.filter(whose, now, agent=agent_id, ended_at=None).select_related("by")
    return list(rows.order_by(F("run_id").asc(nulls_first=True), "made_at"))


def last(subject: Run | Agent, parameter: str) -> Override | None:
    """The last change of this parameter, in force or not; of the subject itself."""
    found: Override | None = _of(subject).filter(parameter=parameter).order_by("-made_at").first()
    return found


def change(override: Override) -> str:
    """Before → after, as a person reads it."""
    path = override.parameter
    return f"{path}: {parameters.shown(path, override.before)} → {parameters.shown(path, override.value)}"


def models(subject: Run | Agent) -> list[Json]:
    """The models that may speak for it: those of its release, then those that live releases of the team name. A
    simulated one never takes the place of a real one."""
    own = _release(subject).chain
    live = Release.objects.filter(state=Release.State.LIVE, agent__team=subject.team_id)
    chains = live.order_by("agent__slug").values_list("bundle__models", flat=True)
    is_real = all(link.get("provider") != "simulated" for link in own)
    found: dict[str, Json] = {}
    for link in [*own, *(link for chain in chains for link in chain or ())]:
        if link in own or not (is_real and link.get("provider") == "simulated"):
            found.setdefault(parameters.label(link), link)
    return list(found.values()) if own else []


def on_offer(subject: Run | Agent) -> Iterator[parameters.Parameter]:
    """What of it may be changed, with what holds by its release."""
    yield from parameters.parameters(_release(subject).bundle, models=models(subject))


def _release(subject: Run | Agent) -> Release:
    release: Release | None = subject.release
    if release is None:
        raise errors.Conflict(f"{subject} has no live release; there is nothing to change.")
    return release


def _needed(parameter: str, allowed: Any, value: Any) -> Permission:
    if not parameters.is_milder(parameter, allowed, value):
        return Permission.STEER
    return Permission.SPEND if parameter in parameters.SPENDING else Permission.PUBLISH


ROLES = {Permission.STEER: "operator", Permission.SPEND: "manager", Permission.PUBLISH: "governance"}
BEYOND = {
    Permission.STEER: "",
    Permission.SPEND: " to more than the release allows",
    Permission.PUBLISH: " to show fewer acts to people than the release does",
}


def _refuse(verb: str, subject: Run | Agent, needed: Permission, *, by: User, what: str, request_id: UUID) -> None:
    """Keep the attempt, and say whose right it is. Outside the transaction that the refusal ends."""
    who = f"that takes the role {ROLES[needed]} in {subject.team}"
    why = f"You may not change {what} of {subject}{BEYOND[needed]}; {who}."
    audit.refuse(verb, about=subject, by=by, because=why, request_id=request_id)


def _check_seen(parameter: str, standing: Override | None, over: str | None) -> None:
    """What somebody else changed a moment ago is not undone by whoever has not seen it."""
    if over is None or over == (str(standing.pk) if standing else ""):
        return
    if standing is None:
        raise errors.Conflict(f"{parameter} has gone back to what the release says meanwhile. Look again.")
    by = standing.by.username if standing.by else "cockpit"
    shown = parameters.shown(parameter, standing.value)
    raise errors.Conflict(f"{by} has changed {parameter} to {shown} meanwhile: “{standing.reason}” Look again.")


def _check_end(subject: Run | Agent, expires_at: datetime | None) -> None:
    now = timezone.now()
    if expires_at is None:
        if isinstance(subject, Agent):
            raise errors.Invalid("Say until when; what shall hold for good is a release.", field="expires_at")
    elif expires_at <= now:
        raise errors.Invalid("It would end before it begins; name a time to come.", field="expires_at")
    elif isinstance(subject, Agent) and expires_at > now + LONGEST:
        raise errors.Invalid(
            f"At most {LONGEST.days} days for all runs of an agent; what shall hold for longer is a release.",
            field="expires_at",
        )


def _lock(subject: Run | Agent) -> None:
    """One change at a time of a run or an agent; what refers to it is not kept waiting."""
    locked = type(subject)._default_manager.select_for_update(of=("self",), no_key=True).get(pk=subject.pk)
    if isinstance(subject, Run):
        subject.state = locked.state


def _of(subject: Run | Agent) -> QuerySet[Override]:
    if isinstance(subject, Run):
        return Override.objects.filter(run=subject)
    return Override.objects.filter(run=None, agent=subject)


def _key(one: Override) -> UUID:
    return one.run_id or one.agent_id


def _key_of(subject: Run | Agent) -> UUID:
    return subject.pk


def _end(one: Override, *, by: User | None, because: str, request_id: UUID | None = None) -> None:
    one.ended_at, one.ended_by, one.ended_because, one.end_request_id = timezone.now(), by, because, request_id
    one.save(update_fields=["ended_at", "ended_by", "ended_because", "end_request_id"])
    back = f"{one.parameter}: {parameters.shown(one.parameter, one.value)} is reverted"
    detail = {"override": str(one.pk), "change": back}
    about = one.run or one.agent
    audit.record("override.reverted", about=about, by=by, reason=because, request_id=request_id, **detail)


def _announce(subject: Run | Agent) -> None:
    """Drivers hear of it by their next write, whoever looks by the signal."""
    type(subject)._default_manager.filter(pk=subject.pk).update(tuning=F("tuning") + 1)
    if isinstance(subject, Run):
        signals.run_changed.send(Run, run_id=subject.pk, agent_id=subject.agent_id, state=subject.state)
    else:
        signals.agent_changed.send(Agent, agent_id=subject.pk)
