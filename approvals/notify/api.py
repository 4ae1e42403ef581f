"""The API's doors to endpoints: where else a team hears of its approvals."""

from typing import Annotated, Self
from uuid import UUID

from django.db.models import QuerySet
from ninja import Query, Router
from uuid_utils.compat import uuid7

from agents import errors
from agents.keyset import cut
from agents.models import Permission, Team
from agents.wire import ActorRequest, Body, Filters, Moment, Out, Page, Words, one_of
from approvals.notify import connecting
from approvals.notify.connecting import Wanted
from approvals.notify.models import About, Endpoint, Notification

router = Router(tags=["endpoints"])

Kind = Annotated[Endpoint.Kind, one_of(Endpoint.Kind)]
Fact = Annotated[About, one_of(About)]
State = Annotated[Notification.State, one_of(Notification.State)]


class EndpointOut(Out):
    """Where else a team hears of its approvals. `secret` is there once: when the cockpit made it."""

    id: UUID
    team: str
    name: str
    kind: Kind
    address: Words
    secret: Words
    secret_env: Words
    facts: list[str]
    failures: int
    off_at: Moment | None
    off_because: Words
    removed_at: Moment | None
    created_at: Moment

    @classmethod
    def of(cls, endpoint: Endpoint, secret: str = "") -> Self:
        """From its row, which never gives its secret away."""
        return cls.taken_from(endpoint, team=endpoint.team.slug, secret=secret)


class DeliveryOut(Out):
    """One message to an endpoint; `id` is the `webhook-id` it goes under."""

    id: UUID
    about: Fact
    title: str
    approval: UUID | None
    state: State
    attempts: int
    status: int | None
    error: Words
    created_at: Moment
    due_at: Moment
    delivered_at: Moment | None

    @classmethod
    def of(cls, sent: Notification) -> Self:
        """From its row."""
        return cls.taken_from(sent, approval=sent.approval_id)


class EndpointIn(Body):
    """A new endpoint."""

    team: str
    name: str
    kind: Kind
    address: str = ""
    secret: str = ""
    secret_env: str = ""
    facts: list[str] = []
    request_id: UUID | None = None


class TrialIn(Body):
    """Nothing needs to be said."""

    request_id: UUID | None = None


class SwitchIn(Body):
    """Why, if somebody wants to know."""

    reason: str = ""
    request_id: UUID | None = None


@router.get("", response=Page[EndpointOut], operation_id="list_endpoints", summary="Endpoints, newest first")
def list_endpoints(request: ActorRequest, filters: Query[Filters]) -> Page[EndpointOut]:
    """Those of the teams whose endpoints you look after."""
    page = cut(_shown(request).filter(removed_at=None), key="-id", limit=filters.limit, cursor=filters.cursor)
    return Page(items=[EndpointOut.of(one) for one in page.rows], next_cursor=page.next_cursor)


@router.post("", response=EndpointOut, operation_id="add_endpoint", summary="Add an endpoint")
def add_endpoint(request: ActorRequest, body: EndpointIn) -> EndpointOut:
    """Where a team hears of its approvals from now on."""
    endpoint, secret = connecting.add(
        _team(request, body.team),
        Wanted(body.name, body.kind, body.address, body.secret, body.secret_env, body.facts),
        by=request.actor,
        request_id=body.request_id,
    )
    return EndpointOut.of(endpoint, secret)


@router.get("/{endpoint_id}", response=EndpointOut, operation_id="get_endpoint", summary="One endpoint")
def get_endpoint(request: ActorRequest, endpoint_id: UUID) -> EndpointOut:
    """How it is."""
    return EndpointOut.of(_one(request, endpoint_id))


@router.delete("/{endpoint_id}", response=EndpointOut, operation_id="remove_endpoint", summary="Remove an endpoint")
def remove_endpoint(request: ActorRequest, endpoint_id: UUID, body: SwitchIn | None = None) -> EndpointOut:
    """Nothing is sent there any more."""
    said = body or SwitchIn()
    found = _one(request, endpoint_id)
    connecting.remove(found, by=request.actor, reason=said.reason, request_id=said.request_id)
    return EndpointOut.of(_one(request, endpoint_id))


@router.post("/{endpoint_id}/test", response=DeliveryOut, operation_id="test_endpoint", summary="Send a test")
def test_endpoint(request: ActorRequest, endpoint_id: UUID, body: TrialIn) -> DeliveryOut:
    """A message that says it is a test, also to one that is switched off."""
    sent = connecting.try_out(_one(request, endpoint_id), by=request.actor, request_id=body.request_id or uuid7())
    return DeliveryOut.of(sent)


@router.post(
    "/{endpoint_id}/activation", response=EndpointOut, operation_id="activate_endpoint", summary="Switch it on again"
)
def activate_endpoint(request: ActorRequest, endpoint_id: UUID, body: SwitchIn) -> EndpointOut:
    """Send there again."""
    found = _one(request, endpoint_id)
    connecting.switch_on(found, by=request.actor, reason=body.reason, request_id=body.request_id)
    return EndpointOut.of(_one(request, endpoint_id))


@router.get(
    "/{endpoint_id}/deliveries",
    response=Page[DeliveryOut],
    operation_id="list_deliveries",
    summary="What was sent to an endpoint, newest first",
)
def list_deliveries(request: ActorRequest, endpoint_id: UUID, filters: Query[Filters]) -> Page[DeliveryOut]:
    """Each message, what came of it, and what went wrong last."""
    sent = Notification.objects.filter(
        endpoint=_one(request, endpoint_id), channel=Notification.Channel.ENDPOINT
    ).defer("content")
    page = cut(sent, key="-id", limit=filters.limit, cursor=filters.cursor)
    return Page(items=[DeliveryOut.of(one) for one in page.rows], next_cursor=page.next_cursor)


def _shown(request: ActorRequest) -> QuerySet[Endpoint]:
    found: QuerySet[Endpoint] = Endpoint.objects.connected_by(request.actor).select_related("team")
    return found


def _one(request: ActorRequest, endpoint_id: UUID) -> Endpoint:
    found = _shown(request).filter(pk=endpoint_id).first()
    if found is None:
        raise errors.Missing()
    return found


def _team(request: ActorRequest, slug: str) -> Team:
    """A team that one can see; others do not exist."""
    everywhere, own = request.actor.places(Permission.SEE)
    team = Team.objects.filter(slug=slug).first()
    if team is None or not (everywhere or team.pk in own):
        raise errors.Invalid("`team` is the slug of one of your teams.", field="team")
    return team
