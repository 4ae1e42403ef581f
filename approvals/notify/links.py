"""Links in messages. One decides nothing: it opens the request, after sign-in, for those who may see it.

It is signed and ends, so that an old message found somewhere leads nowhere by itself. Opening it twice is opening it
once.
"""

from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.core import signing
from django.urls import reverse
from django.utils import timezone

from agents import errors

SALT = "approvals.notify.links"


def to(approval_id: UUID, *, at: datetime) -> str:
    """The whole address of a link to a request, good until some hours after `at`."""
    until = at + timedelta(hours=settings.LINK_HOURS)
    token = signing.Signer(salt=SALT).sign_object([str(approval_id), int(until.timestamp())])
    return f"{settings.PUBLIC_URL.rstrip('/')}{reverse('notify:open', args=[token])}"


def read(token: str) -> tuple[UUID, datetime]:
    """The request that a link leads to, and until when it is good; `Missing` for what we have not signed."""
    try:
        approval_id, until = signing.Signer(salt=SALT).unsign_object(token)
        return UUID(approval_id), datetime.fromtimestamp(until, tz=timezone.get_current_timezone())
    except (signing.BadSignature, ValueError, TypeError, OverflowError):
        raise errors.Missing("This link is none of ours, or a part of it is missing.") from None
