"""What is told: the fact, the notification of one person or endpoint, where a team wants to hear, what a person chose.

A `Fact` is written in the transaction that made it true and is gone once it has become `Notification`s: whom it
concerns is worked out beside the decision, not inside it.
"""

from typing import ClassVar, Self

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower
from django.utils import timezone
from uuid_utils.compat import uuid7

from agents.models import Permission, Team, TeamOwnedQuerySet, User


class About(models.TextChoices):
    """What has happened."""

    OPENED = "opened", "decision needed"
    ESCALATED = "escalated"
    DELEGATED = "delegated", "handed to you"
    DECIDED = "decided"
    EXPIRED = "expired"
    SUPERSEDED = "superseded", "no longer needed"
    TEST = "test"
    DIGEST = "digest"


CLOSING = frozenset({About.DECIDED, About.EXPIRED, About.SUPERSEDED})
"""After these nobody needs to answer any more."""


class Fact(models.Model):
    """Something that happened to an approval and has not been told yet."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    approval = models.ForeignKey("approvals.Approval", on_delete=models.CASCADE, related_name="+", db_index=False)
    about = models.CharField(max_length=10, choices=About)
    level = models.PositiveSmallIntegerField(default=0, help_text="Of an escalation.")
    people = models.JSONField(default=list, help_text="Ids of those an escalation goes to.")
    teams = models.JSONField(default=list, help_text="Ids of teams an escalation goes to.")
    channels = models.JSONField(default=list, help_text="Which channels an escalation names; empty for all.")
    at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"{self.approval_id} {self.about}"


class EndpointQuerySet(TeamOwnedQuerySet):
    """Endpoints of one's teams."""

    def connected_by(self, user: User) -> Self:
        """Those this user may look after: addresses of other systems are nobody else's business."""
        return self.within(user, Permission.CONNECT)

    def standing(self) -> Self:
        """Not removed."""
        return self.filter(removed_at__isnull=True)


class Endpoint(models.Model):
    """Somewhere else that a team wants to hear of its approvals."""

    class Kind(models.TextChoices):
        WEBHOOK = "webhook", "Webhook"
        SLACK = "slack", "Slack"
        PAGERDUTY = "pagerduty", "PagerDuty"
        OPSGENIE = "opsgenie", "Opsgenie"
        EMAIL = "email", "E-mail"

    ALERTING: ClassVar[frozenset[str]] = frozenset({Kind.PAGERDUTY, Kind.OPSGENIE})

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="+")
    name = models.CharField(max_length=80)
    kind = models.CharField(max_length=10, choices=Kind)
    address = models.CharField(max_length=400, help_text="Where it is; of Slack only the host, the rest is its secret.")
    secret = models.TextField(blank=True, help_text="Sealed; empty where a variable of the environment holds it.")
    secret_env = models.CharField(max_length=80, blank=True)
    facts = models.JSONField(default=list, help_text="What it wants to hear about.")

    failures = models.PositiveSmallIntegerField(default=0, help_text="In a row.")
    next_at = models.DateTimeField(default=timezone.now, help_text="Not to be tried before, or in use until then.")
    off_at = models.DateTimeField(null=True)
    off_because = models.TextField(blank=True)
    removed_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(default=timezone.now)

    objects = EndpointQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                "team", Lower("name"), condition=Q(removed_at__isnull=True), name="endpoint_name_once"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def hears(self) -> list[str]:
        """What it wants to hear about, in words."""
        return [About(one).label.lower() for one in self.facts]

    @property
    def is_off(self) -> bool:
        """Whether nothing but a test is sent there."""
        return self.off_at is not None

    @property
    def standing(self) -> tuple[str, str]:
        """How it is, as colour class and word."""
        if self.removed_at:
            return "still", "removed"
        if self.is_off:
            return "bad", "switched off"
        return ("warn", "failing") if self.failures else ("ok", "on")


class Notification(models.Model):
    """One message to one person or endpoint. Its id is what the receiver knows it by, the same on every try."""

    class Channel(models.TextChoices):
        IN_APP = "in_app", "in the cockpit"
        EMAIL = "email", "e-mail"
        ENDPOINT = "endpoint"

    class State(models.TextChoices):
        WAITING = "waiting"
        DELIVERED = "delivered"
        FAILED = "failed"
        DROPPED = "dropped"

    HUES: ClassVar[dict[str, str]] = {
        State.WAITING: "wait",
        State.DELIVERED: "ok",
        State.FAILED: "bad",
        State.DROPPED: "still",
    }

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    about = models.CharField(max_length=10, choices=About)
    channel = models.CharField(max_length=10, choices=Channel)
    state = models.CharField(max_length=10, choices=State, default=State.WAITING)
    approval = models.ForeignKey(
        "approvals.Approval", null=True, on_delete=models.CASCADE, related_name="+", db_index=False
    )
    person = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.CASCADE, related_name="+", db_index=False
    )
    endpoint = models.ForeignKey(Endpoint, null=True, on_delete=models.CASCADE, related_name="+", db_index=False)
    request_id = models.UUIDField(null=True, unique=True, help_text="Of a test: pressing twice is one.")
    title = models.CharField(max_length=300)
    content = models.JSONField(default=dict, help_text="What is told, as it was then.")

    created_at = models.DateTimeField(default=timezone.now)
    due_at = models.DateTimeField(default=timezone.now, help_text="Not to be tried before, or in work until then.")
    attempts = models.PositiveSmallIntegerField(default=0)
    status = models.PositiveSmallIntegerField(null=True, help_text="The last answer's, where there was one.")
    error = models.TextField(blank=True, help_text="What went wrong last, or why it was dropped.")
    delivered_at = models.DateTimeField(null=True)
    seen_at = models.DateTimeField(null=True, help_text="By the person, or when it was over.")

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(channel="endpoint", endpoint__isnull=False, person__isnull=True)
                | (~Q(channel="endpoint") & Q(endpoint__isnull=True, person__isnull=False)),
                name="notification_for_one",
            ),
        ]
        indexes = [
            models.Index(fields=["person", "-id"], name="notification_person", condition=Q(channel="in_app")),
            models.Index(
                fields=["person"], name="notification_unseen", condition=Q(channel="in_app", seen_at__isnull=True)
            ),
            models.Index(fields=["endpoint", "-id"], name="notification_endpoint", condition=Q(channel="endpoint")),
            models.Index(
                fields=["due_at", "id"], name="notification_mail", condition=Q(channel="email", state="waiting")
            ),
            models.Index(
                fields=["endpoint", "due_at"],
                name="notification_waiting",
                condition=Q(channel="endpoint", state="waiting"),
            ),
            models.Index(fields=["approval"], name="notification_approval", condition=Q(approval__isnull=False)),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def hue(self) -> str:
        """The colour class of this state."""
        return self.HUES[self.state]


class Preference(models.Model):
    """When a person wants e-mail. In the cockpit everything that concerns them is told at once."""

    class When(models.TextChoices):
        AT_ONCE = "at_once", "At once"
        DIGEST = "digest", "Once a day"
        OFF = "off", "Never"

    person = models.OneToOneField(
        settings.AUTH_USER_MODEL, primary_key=True, on_delete=models.CASCADE, related_name="notified"
    )
    mine = models.CharField(max_length=8, choices=When, default=When.AT_ONCE)
    rest = models.CharField(max_length=8, choices=When, default=When.DIGEST)
    hour = models.PositiveSmallIntegerField(default=8, help_text="Of the day where the person is.")
    digest_at = models.DateTimeField(db_index=True, help_text="When the next digest is due.")

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(hour__lte=23), name="preference_hour_of_a_day")]

    def __str__(self) -> str:
        return f"{self.person_id}: {self.mine}, {self.rest}"
