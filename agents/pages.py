"""What the pages of every app have in common: the request of somebody signed in, and what their forms send with an act.

Apart from the doors, as `wire` is for the API, so that a press is read alike behind all of them.
"""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.http import HttpRequest
from django_htmx.middleware import HtmxDetails
from uuid_utils.compat import uuid7

from agents import errors
from agents.people.models import User


class PersonRequest(HttpRequest):
    """A request of somebody signed in."""

    actor: User
    htmx: HtmxDetails


def request_id(posted: Mapping[str, str]) -> UUID:
    """What makes a press one act, however often it is delivered; a press without one is an act of its own."""
    text = posted.get("request_id")
    try:
        return UUID(text) if text else uuid7()
    except ValueError:
        raise errors.Invalid("`request_id` must be a UUID; reload the page.", field="request_id") from None


def reason_and_request_id(posted: Mapping[str, str]) -> dict[str, Any]:
    """What most verbs take besides what they are about."""
    return {"reason": posted.get("reason", ""), "request_id": request_id(posted)}
