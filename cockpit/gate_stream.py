"""The stream of one held call: its agent is told when it is answered, without asking again and again.

In the shell because it hears of changes as pages do. A stream holds no database connection: one is borrowed to look,
when the question changed or its time is up.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from uuid import UUID

from asgiref.sync import sync_to_async
from django.db import connections
from django.http import StreamingHttpResponse
from django.utils import timezone
from ninja import Router

from agents.models import User
from agents.wire import ActorRequest
from approvals.outside.api import RulingOut, ruling_of
from approvals.outside.rulings import HOLD
from cockpit import live

router = Router(tags=["gate"])


@router.get("/{approval_id}/stream", operation_id="stream_ruling", summary="Be told when a held call is answered")
def stream_ruling(request: ActorRequest, approval_id: UUID) -> StreamingHttpResponse:
    """Server-sent events: `held` at once and `ruling` at the end, both with the ruling; comments in between."""
    ruling_of(request.actor, approval_id)
    response = StreamingHttpResponse(_told(request.actor, approval_id), content_type="text/event-stream")
    response["X-Accel-Buffering"], response["Content-Encoding"] = "no", "identity"
    connections.close_all()
    return response


async def _told(user: User, approval_id: UUID) -> AsyncIterator[str]:
    """Until it is answered, its time is up, or the stream has lived long enough: then its agent connects again."""
    topics = (f'"approval:{approval_id}"', f'"{live.EVERYTHING}"')
    ends_at = time.monotonic() + live.LIFE
    with live.listening(time.time()) as page:
        verdict, event, wakes_at = await sync_to_async(_look)(user, approval_id)
        yield event
        while verdict == HOLD and time.monotonic() < ends_at:
            heard = await _heard(page, wakes_at)
            if heard and not any(topic in heard for topic in topics):
                if heard.startswith("event: ping"):
                    yield ": still held\n\n"
                await asyncio.sleep(live.FLUSH_EVERY)
                continue
            verdict, event, wakes_at = await sync_to_async(_look)(user, approval_id)
            yield event if verdict != HOLD else ": still held\n\n"


async def _heard(page: live.Page, wakes_at: float) -> str:
    """What happened; nothing when the time of the question was up first."""
    try:
        return await asyncio.wait_for(page.next(), max(0.1, wakes_at - time.time()))
    except TimeoutError:
        return ""


def _look(user: User, approval_id: UUID) -> tuple[str, str, float]:
    """The verdict, the event that tells it, and when it changes by itself (seconds)."""
    try:
        ruling = ruling_of(user, approval_id)
        said = RulingOut.of(ruling).model_dump_json()
        name = "held" if ruling.verdict == HOLD else "ruling"
        until = ruling.approval.expires_at if ruling.approval else None
        return ruling.verdict, f"event: {name}\ndata: {said}\n\n", (until or timezone.now()).timestamp()
    finally:
        connections.close_all()
