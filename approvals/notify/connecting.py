"""Looking after endpoints: adding one, trying it, switching it on again, removing it. All of it is kept in the log."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from agents import errors
from agents.audit import log as audit
from agents.models import Permission, Team, User
from approvals.notify import addresses, channels, choosing, envelopes, sealing
from approvals.notify.models import CLOSING, About, Endpoint, Notification

FACTS = (About.OPENED, About.ESCALATED, About.DECIDED, About.EXPIRED, About.SUPERSEDED)
"""What an endpoint can ask for."""
USUALLY: dict[str, tuple[About, ...]] = {
    Endpoint.Kind.WEBHOOK: FACTS,
    Endpoint.Kind.SLACK: (About.OPENED, About.ESCALATED, About.EXPIRED),
    Endpoint.Kind.EMAIL: (About.OPENED, About.ESCALATED, About.EXPIRED),
    Endpoint.Kind.PAGERDUTY: (About.ESCALATED,),
    Endpoint.Kind.OPSGENIE: (About.ESCALATED,),
}
BASES = {Endpoint.Kind.PAGERDUTY: channels.PAGERDUTY, Endpoint.Kind.OPSGENIE: channels.OPSGENIE}
TOO_OLD = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Wanted:
    """An endpoint as a person or a program asks for it."""

    name: str
    kind: str
    address: str = ""
    secret: str = ""
    secret_env: str = ""
    facts: Sequence[str] = field(default=())


def require(by: User, team: Team, verb: str) -> None:
    """Who may look after the endpoints of a team; an attempt of others is kept."""
    if not by.may(Permission.CONNECT, team.pk):
        because = f"Endpoints of {team} are looked after by the roles governance and admin."
        audit.refuse(verb, about=team, by=by, because=because)


def add(team: Team, wanted: Wanted, *, by: User, request_id: UUID | None = None) -> tuple[Endpoint, str]:
    """A new endpoint, and the secret we made for it (empty where it was given): nobody sees that again."""
    require(by, team, "endpoint.added")
    endpoint = Endpoint(team=team, name=wanted.name.strip(), kind=_kind(wanted.kind), facts=_facts(wanted))
    if not 0 < len(endpoint.name) <= 80:
        raise errors.Invalid("`name` is what people call it, of 80 characters at most.", field="name")
    made = _address_and_secret(endpoint, wanted)
    try:
        with transaction.atomic():
            endpoint.save(force_insert=True)
            said = {"kind": endpoint.kind, "address": endpoint.address, "facts": endpoint.facts}
            audit.record("endpoint.added", about=endpoint, by=by, request_id=request_id, **said)
    except IntegrityError as error:
        if "endpoint_name_once" not in str(error):
            raise
        sentence = f"{team} has an endpoint called {endpoint.name} already; choose another name."
        raise errors.Conflict(sentence, field="name") from None
    return endpoint, made


def remove(endpoint: Endpoint, *, by: User, reason: str = "", request_id: UUID | None = None) -> None:
    """Nothing is sent there any more; what was sent stays in its log. Removing it twice is removing it once."""
    require(by, endpoint.team, "endpoint.removed")
    with transaction.atomic():
        current = _locked(endpoint)
        if current.removed_at is None:
            current.removed_at, current.secret = timezone.now(), ""
            current.save(update_fields=["removed_at", "secret"])
            _drop(current, "The endpoint was removed.")
            audit.record("endpoint.removed", about=current, by=by, reason=reason, request_id=request_id)


def switch_on(endpoint: Endpoint, *, by: User, reason: str = "", request_id: UUID | None = None) -> None:
    """Send there again, what waits since less than a day, too. One that is on stays as it is."""
    require(by, endpoint.team, "endpoint.switched_on")
    with transaction.atomic():
        current = _standing(endpoint)
        if current.off_at is None:
            return
        current.off_at, current.off_because, current.failures, current.next_at = None, "", 0, timezone.now()
        current.save(update_fields=["off_at", "off_because", "failures", "next_at"])
        _drop(current, "It was too old when the endpoint was switched on again.", older_than=timezone.now() - TOO_OLD)
        _waiting(current).update(due_at=timezone.now())
        audit.record("endpoint.switched_on", about=current, by=by, reason=reason, request_id=request_id)


def try_out(endpoint: Endpoint, *, by: User, request_id: UUID | None = None) -> Notification:
    """Send a message that says it is a test, once, also where the endpoint is switched off. The same request id is the
    same test."""
    require(by, endpoint.team, "endpoint.tested")
    with transaction.atomic():
        current = _standing(endpoint)
        if request_id and (earlier := Notification.objects.filter(request_id=request_id).first()):
            if earlier.endpoint_id != current.pk:
                raise errors.Conflict(
                    "This request id was used for something else; make a new one.", field="request_id"
                )
            return earlier
        sent = Notification(
            channel=Notification.Channel.ENDPOINT,
            endpoint=current,
            about=About.TEST,
            title=f"A test of {current.name} by {by.name}: nothing needs to be done"[:300],
            content={"endpoint": str(current.pk), "by": by.username},
            request_id=request_id,
        )
        sent.save(force_insert=True)
        if current.failures:  # whoever presses does not want to wait for the next try
            Endpoint.objects.filter(pk=current.pk).update(next_at=timezone.now())
        audit.record("endpoint.tested", about=current, by=by, request_id=request_id)
    return sent


def _kind(kind: str) -> str:
    if kind not in Endpoint.Kind.values:
        raise errors.Invalid(f"`kind` is one of {', '.join(Endpoint.Kind.values)}, not {kind!r}.", field="kind")
    return kind


def _facts(wanted: Wanted) -> list[str]:
    facts = list(wanted.facts) or [str(one) for one in USUALLY[_kind(wanted.kind)]]
    if unknown := [one for one in facts if one not in FACTS]:
        known = ", ".join(FACTS)
        raise errors.Invalid(f"`facts` can hold {known}, not {unknown[0]!r}.", field="facts")
    if wanted.kind in Endpoint.ALERTING and CLOSING & set(facts):
        raise errors.Invalid("`facts` of an alert are opened and escalated; it is resolved by itself.", field="facts")
    return [str(one) for one in FACTS if one in facts]


def _address_and_secret(endpoint: Endpoint, wanted: Wanted) -> str:
    """Fill in where and with what; answers the secret we made, if we did."""
    address, secret = wanted.address.strip(), wanted.secret.strip()
    if endpoint.kind == Endpoint.Kind.EMAIL:
        choosing.require_address(address, field="address")
        if secret or wanted.secret_env:
            raise errors.Invalid("An address for e-mail has no secret; leave it out.", field="secret")
        endpoint.address = address
        return ""
    if endpoint.kind == Endpoint.Kind.SLACK and not wanted.secret_env:
        secret = secret or address
    elif endpoint.kind != Endpoint.Kind.SLACK:
        endpoint.address = addresses.parsed(address or BASES.get(Endpoint.Kind(endpoint.kind), "")).geturl()
    if len(endpoint.address) > 400:
        raise errors.Invalid("`address` is longer than 400 characters.", field="address")
    return _keep_secret(endpoint, secret, wanted.secret_env.strip())


def _keep_secret(endpoint: Endpoint, secret: str, variable: str) -> str:
    if variable:
        if secret:
            raise errors.Invalid("Give `secret` or `secret_env`, not both.", field="secret_env")
        if why := sealing.refusal(endpoint.team, variable):
            raise errors.Invalid(why, field="secret_env")
        endpoint.secret_env = variable
        return ""
    made = sealing.fresh() if endpoint.kind == Endpoint.Kind.WEBHOOK and not secret else ""
    if not secret and not made:
        raise errors.Invalid(f"`secret` is missing: {NEEDS[Endpoint.Kind(endpoint.kind)]}.", field="secret")
    sealing.check(endpoint.kind, secret or made)
    if endpoint.kind == Endpoint.Kind.SLACK:
        parts = addresses.parsed(secret)
        endpoint.address = f"{parts.scheme}://{parts.netloc}/…"
    endpoint.secret = envelopes.seal(secret or made, of=str(endpoint.pk))
    return made


NEEDS = {
    Endpoint.Kind.SLACK: "the whole address of the incoming webhook",
    Endpoint.Kind.PAGERDUTY: "the integration key of the service, for Events API v2",
    Endpoint.Kind.OPSGENIE: "the key of an API integration",
}


def _standing(endpoint: Endpoint) -> Endpoint:
    current = _locked(endpoint)
    if current.removed_at:
        raise errors.Conflict(f"{current} was removed; add it anew.")
    return current


def _locked(endpoint: Endpoint) -> Endpoint:
    current: Endpoint = Endpoint.objects.select_for_update(of=("self",)).select_related("team").get(pk=endpoint.pk)
    return current


def _waiting(endpoint: Endpoint) -> QuerySet[Notification]:
    state = Notification.State.WAITING
    return Notification.objects.filter(endpoint=endpoint, channel=Notification.Channel.ENDPOINT, state=state)


def _drop(endpoint: Endpoint, why: str, *, older_than: datetime | None = None) -> None:
    found = _waiting(endpoint)
    if older_than:
        found = found.filter(created_at__lt=older_than)
    found.update(state=Notification.State.DROPPED, error=why)
