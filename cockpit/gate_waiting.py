"""How one held call stands: at once, when it is answered, or as a stream, without asking again and again.

In the shell because it hears of changes as pages do. Who waits holds no thread and no database connection: one is
borrowed to look, when the question changed or its time is up.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import UUID

from asgiref.sync import sync_to_async
from django.db import connections
from django.http import HttpResponse, StreamingHttpResponse
from django.utils import timezone
from ninja import Field, Query, Router, Schema

from agents.models import User
from agents.wire import ActorRequest
from approvals.outside.api import RulingOut, ruling_of
from approvals.outside.rulings import HOLD
from cockpit import live

router = Router(tags=["gate"])

LONGEST_S = 60


class Patience(Schema):
    """How long somebody would rather wait than be told that it is still held."""

    wait: int = Field(0, ge=0, le=LONGEST_S, description="Seconds, at most; 0 answers at once.")


@dataclass(frozen=True, slots=True)
class Look:
    """How it stood: whether it was held, the ruling as it goes out, and when that changes by itself (seconds)."""

    is_held: bool
    said: str
    wakes_at: float

    @property
    def event(self) -> str:
        """As a server-sent event."""
        return f"event: {'held' if self.is_held else 'ruling'}\ndata: {self.said}\n\n"


@router.get("/{approval_id}", response=RulingOut, operation_id="get_ruling", summary="How a held call stands")
def get_ruling(
    request: ActorRequest, approval_id: UUID, patience: Query[Patience]
) -> RulingOut | HttpResponse | StreamingHttpResponse:
    """What the agent would be told if it asked again; looking uses nothing up. With `wait`, when it is answered."""
    ruling = ruling_of(request.actor, approval_id)
    if ruling.verdict != HOLD or not patience.wait:
        return RulingOut.of(ruling)
    return _streaming(_waited(request.actor, approval_id, patience.wait), "application/json")


@router.get("/{approval_id}/stream", operation_id="stream_ruling", summary="Be told when a held call is answered")
def stream_ruling(request: ActorRequest, approval_id: UUID) -> StreamingHttpResponse:
    """Server-sent events: `held` at once and `ruling` at the end, both with the ruling; comments in between."""
    ruling_of(request.actor, approval_id)
    return _streaming(_told(request.actor, approval_id), "text/event-stream")


def _streaming(content: AsyncIterator[str], kind: str) -> StreamingHttpResponse:
    """Sent as it comes, while nothing is held for it."""
    response = StreamingHttpResponse(content, content_type=kind)
    response["X-Accel-Buffering"], response["Content-Encoding"] = "no", "identity"
    connections.close_all()
    return response


async def _waited(user: User, approval_id: UUID, seconds: float) -> AsyncIterator[str]:
    """One JSON text: the ruling once it is there, or how it stands at the end. White space before it keeps proxies from
    giving up."""
    last: Look | None = None
    async for look in _looks(user, approval_id, seconds):
        last = look or last
        if look is None:
            yield "\n"
    if last is None or last.is_held:  # what was missed while nothing could be heard is seen now
        last = await sync_to_async(_look)(user, approval_id)
    yield last.said


async def _told(user: User, approval_id: UUID) -> AsyncIterator[str]:
    """Until it is answered, its time is up, or the stream has lived long enough: then its agent connects again."""
    is_first = True
    async for look in _looks(user, approval_id, live.LIFE):
        is_news = look is not None and (is_first or not look.is_held)
        yield look.event if look is not None and is_news else ": still held\n\n"
        is_first = False


async def _looks(user: User, approval_id: UUID, seconds: float) -> AsyncIterator[Look | None]:
    """How it stands, now and whenever it may have changed, until it is answered or the time is over; None is a sign of
    life in between."""
    topics = (f'"approval:{approval_id}"', f'"{live.EVERYTHING}"')
    ends_at = time.monotonic() + seconds
    with live.listening(time.time()) as page:
        look = await sync_to_async(_look)(user, approval_id)
        yield look
        while look.is_held and (left := ends_at - time.monotonic()) > 0:
            heard = await _heard(page, min(left, look.wakes_at - time.time()))
            if heard and not any(topic in heard for topic in topics):
                if heard.startswith("event: ping"):
                    yield None
                await asyncio.sleep(live.FLUSH_EVERY)
                continue
            look = await sync_to_async(_look)(user, approval_id)
            yield look


async def _heard(page: live.Page, seconds: float) -> str:
    """What happened; nothing when the time was up first."""
    try:
        return await asyncio.wait_for(page.next(), max(0.1, seconds))
    except TimeoutError:
        return ""


def _look(user: User, approval_id: UUID) -> Look:
    """How it stands, with a connection that is given back."""
    try:
        ruling = ruling_of(user, approval_id)
        until = ruling.approval.expires_at if ruling.approval else None
        said = RulingOut.of(ruling).model_dump_json()
        return Look(ruling.verdict == HOLD, said, (until or timezone.now()).timestamp())
    finally:
        connections.close_all()
