"""One answer to many questions: a job with a name, and one row for each question it was given."""

from typing import ClassVar
from uuid import UUID, uuid5

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from uuid_utils.compat import uuid7

from agents.models import Permission, Team, TeamOwnedQuerySet, User
from approvals.decision_models import Decision


class BulkQuerySet(TeamOwnedQuerySet):
    """Jobs of one's teams; one over several teams is seen by its owner and by whoever sees every team."""

    def visible_to(self, user: User) -> "BulkQuerySet":
        """Those of one's teams, and one's own."""
        everywhere, teams = user.places(Permission.SEE)
        return self if everywhere else self.filter(Q(team__in=teams) | Q(by=user))


class BulkDecision(models.Model):
    """`queued → running → done | failed`. Whoever drives it holds a lease; its token fences off who held it before."""

    class State(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        DONE = "done"
        FAILED = "failed"

    HUES: ClassVar[dict[str, str]] = {
        State.QUEUED: "still",
        State.RUNNING: "busy",
        State.DONE: "ok",
        State.FAILED: "bad",
    }
    ENDED: ClassVar[frozenset[str]] = frozenset({State.DONE, State.FAILED})

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    team = models.ForeignKey(Team, null=True, on_delete=models.PROTECT, related_name="+", help_text="If only one.")
    answer = models.CharField(max_length=10, choices=Decision.Answer)
    code = models.CharField(max_length=16, choices=Decision.Code, blank=True)
    reason = models.TextField()
    chosen = models.TextField(help_text="What was chosen, as a query or in words.")
    request_id = models.UUIDField(unique=True)
    state = models.CharField(max_length=8, choices=State, default=State.QUEUED)
    total = models.PositiveIntegerField()
    decided = models.PositiveIntegerField(default=0)
    left = models.PositiveIntegerField(default=0, help_text="Looked at and left as they were, each with its reason.")
    deaths = models.PositiveSmallIntegerField(default=0, help_text="Drivers lost since it last got on.")
    lease_token = models.PositiveIntegerField(default=0)
    lease_until = models.DateTimeField(null=True)
    created_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True)

    objects = BulkQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["created_at"], name="bulk_under_way", condition=Q(state__in=["queued", "running"]))
        ]

    def __str__(self) -> str:
        return f"{self.get_answer_display()} {self.total:,} {'request' if self.total == 1 else 'requests'}"

    @property
    def hue(self) -> str:
        """The colour class of this state."""
        return "warn" if self.state == self.State.DONE and self.left else self.HUES[self.state]

    @property
    def has_ended(self) -> bool:
        """Whether nothing more comes of it."""
        return self.state in self.ENDED

    @property
    def looked_at(self) -> int:
        """How far it has come."""
        return self.decided + self.left

    @property
    def rate(self) -> float | None:
        """Requests a second, once there is something to tell."""
        seconds = ((self.finished_at or timezone.now()) - self.created_at).total_seconds()
        return self.looked_at / seconds if self.looked_at and seconds > 0 else None

    @property
    def seconds_left(self) -> float | None:
        """How much longer it takes at this rate."""
        return (self.total - self.looked_at) / self.rate if self.rate and not self.has_ended else None

    @property
    def summary(self) -> str:
        """What came of it, in one sentence."""
        past = Decision.PAST[self.answer]
        if not self.has_ended:
            return f"{self.looked_at:,} of {self.total:,} done."
        were = "it was" if self.left == 1 else "they were"
        left = f"; {self.left:,} left as {were}" if self.left else ""
        stopped = "" if self.state == self.State.DONE else f", then stopped with {self.total - self.looked_at:,} to go"
        return f"{past} {self.decided:,} of {self.total:,}{left}{stopped}."


class BulkItem(models.Model):
    """One question that a job was given: `waiting → decided | left`. What is left says why."""

    class State(models.TextChoices):
        WAITING = "waiting"
        DECIDED = "decided"
        LEFT = "left"

    bulk = models.ForeignKey(BulkDecision, on_delete=models.CASCADE, related_name="items", db_index=False)
    place = models.PositiveIntegerField()
    approval = models.ForeignKey("approvals.Approval", on_delete=models.CASCADE, related_name="bulk_items")
    state = models.CharField(max_length=8, choices=State, default=State.WAITING)
    why = models.TextField(blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["bulk", "place"], name="bulk_item_place"),
            models.UniqueConstraint(fields=["bulk", "approval"], name="bulk_item_once"),
        ]

    def __str__(self) -> str:
        return f"{self.approval_id} in {self.bulk_id}"

    @property
    def request_id(self) -> UUID:
        """Of the decision that its job makes: the same whoever drives the job, and however often."""
        return uuid5(self.bulk_id, str(self.approval_id))
