"""How a notification looks to each kind of endpoint, in the words of its protocol.

Sources: Standard Webhooks 1.0.0 and CloudEvents 1.0.2 (JSON format, structured mode); Slack incoming webhooks with
Block Kit; PagerDuty Events API v2; Opsgenie Alert API v2.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from django.conf import settings
from django.utils import timezone
from standardwebhooks.webhooks import Webhook

from approvals.notify import links
from approvals.notify.models import CLOSING, About, Endpoint, Notification

PAGERDUTY, OPSGENIE = "https://events.pagerduty.com", "https://api.opsgenie.com"
SEVERITIES = {1: "warning", 2: "error", 3: "critical", 4: "critical"}
PRIORITIES = {1: "P3", 2: "P2", 3: "P1", 4: "P1"}
JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Call:
    """A request that is ready to be sent."""

    address: str
    body: bytes
    headers: dict[str, str]


def call(notification: Notification, endpoint: Endpoint, secret: str) -> Call:
    """What is sent to an endpoint that speaks HTTP."""
    return CALLS[Endpoint.Kind(endpoint.kind)](notification, endpoint, secret)


def alert_key(notification: Notification) -> str:
    """What raises and resolves one and the same alert: the request, or the test."""
    return f"cockpit-{notification.approval_id or notification.pk}"


def link(notification: Notification) -> str:
    """Where the request is decided; of a test the cockpit itself. The same on every try."""
    if notification.approval_id is None:
        return settings.PUBLIC_URL
    return links.to(notification.approval_id, at=notification.created_at)


def _webhook(notification: Notification, endpoint: Endpoint, secret: str) -> Call:
    event = CloudEvent(
        {
            "id": str(notification.pk),
            "source": f"/teams/{endpoint.team.slug}/cockpit",
            "type": f"dev.cockpit.{_subject(notification)}.{notification.about}.v1",
            "subject": f"approvals/{notification.approval_id}"
            if notification.approval_id
            else f"endpoints/{endpoint.pk}",
            "time": notification.created_at.astimezone(UTC),
            "datacontenttype": JSON,
        },
        {"title": notification.title, "url": link(notification), **notification.content},
    )
    body, now = JSONFormat().write(event), timezone.now()
    headers = {
        "Content-Type": JSONFormat.CONTENT_TYPE,
        "webhook-id": str(notification.pk),
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(str(notification.pk), _second(now), body.decode()),
    }
    return Call(endpoint.address, body, headers)


def _subject(notification: Notification) -> str:
    return "approval" if notification.approval_id else "endpoint"


def _second(moment: datetime) -> datetime:
    """The library reads a moment as UTC whatever its zone."""
    return moment.astimezone(UTC).replace(microsecond=0)


def _slack(notification: Notification, endpoint: Endpoint, secret: str) -> Call:
    """The secret is the whole address of the incoming webhook. `text` is what a phone shows."""
    told = notification.content
    blocks: list[dict[str, Any]] = [
        {"type": "section", "text": {"type": "mrkdwn", "text": f"*{_escaped(notification.title)}*"}},
    ]
    if told.get("agent"):
        words = f"{told['agent']} in {told['team']} · {told['tool']} · L{told['level']} · zone {told['zone']}"
        blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": _escaped(words)}]})
    button = {"type": "button", "text": {"type": "plain_text", "text": "Open it"}, "url": link(notification)}
    blocks.append({"type": "actions", "elements": [button]})
    return _json(secret, {"text": _escaped(notification.title), "blocks": blocks})


def _escaped(text: str) -> str:
    """The three marks that Slack reads as its own."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _pagerduty(notification: Notification, endpoint: Endpoint, secret: str) -> Call:
    event: dict[str, Any] = {
        "routing_key": secret,
        "event_action": "resolve" if notification.about in CLOSING else "trigger",
        "dedup_key": alert_key(notification),
    }
    if event["event_action"] == "trigger":
        told = notification.content
        event |= {
            "client": settings.ORGANISATION,
            "client_url": settings.PUBLIC_URL,
            "links": [{"href": link(notification), "text": "Open the request"}],
            "payload": {
                "summary": notification.title[:1024],
                "source": told.get("agent", "cockpit"),
                "severity": SEVERITIES.get(_urgency(notification), "info"),
                "timestamp": notification.created_at.astimezone(UTC).isoformat(),
                "component": told.get("tool", "cockpit"),
                "group": endpoint.team.slug,
                "class": f"approval.{notification.about}",
                "custom_details": told,
            },
        }
    return _json(f"{endpoint.address.rstrip('/')}/v2/enqueue", event)


def _opsgenie(notification: Notification, endpoint: Endpoint, secret: str) -> Call:
    base, key = f"{endpoint.address.rstrip('/')}/v2/alerts", alert_key(notification)
    authorised = {"Authorization": f"GenieKey {secret}"}
    if notification.about in CLOSING:
        closing = {"source": settings.ORGANISATION[:100], "note": notification.title}
        return _json(f"{base}/{quote(key, safe='')}/close?identifierType=alias", closing, authorised)
    told = notification.content
    alert = {
        "message": notification.title[:130],
        "alias": key,
        "description": f"{notification.title}\n{link(notification)}",
        "priority": PRIORITIES.get(_urgency(notification), "P5"),
        "source": settings.ORGANISATION[:100],
        "entity": str(told.get("agent", "cockpit")),
        "tags": ["cockpit", endpoint.team.slug],
        "details": {name: str(told[name]) for name in ("tool", "zone", "level", "due_at", "run") if name in told},
    }
    return _json(base, alert, authorised)


def _urgency(notification: Notification) -> int:
    """How far it has gone: the level it was escalated to, else 1; of a test 0."""
    if notification.about == About.TEST:
        return 0
    return int(notification.content.get("escalated_to") or 1)


def _json(address: str, body: dict[str, Any], headers: dict[str, str] | None = None) -> Call:
    return Call(address, json.dumps(body, ensure_ascii=False).encode(), {"Content-Type": JSON, **(headers or {})})


CALLS = {
    Endpoint.Kind.WEBHOOK: _webhook,
    Endpoint.Kind.SLACK: _slack,
    Endpoint.Kind.PAGERDUTY: _pagerduty,
    Endpoint.Kind.OPSGENIE: _opsgenie,
}
