"""What is stored of clocks and escalation: calendars and policies in versions, when clocks ran, what escalated."""

from typing import Any, Self

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from uuid_utils.compat import uuid7

from agents.models import Team
from approvals.escalation.ladder import AfterLast, What


def silent_end(field: str) -> Q:
    """That a question which nobody answers ends in one of the ways there are. Approving is not among them."""
    return Q(**{f"{field}__in": [one.value for one in AfterLast]})


class PublishedQuerySet(models.QuerySet[Any]):
    """Versions; at most one of them is in force for each team, and one for all teams without their own."""

    def in_force(self) -> Self:
        """What holds now."""
        return self.filter(retired_at__isnull=True)

    def for_team(self, team_id: Any) -> Self:
        """What holds for a team: its own first, then the one for all."""
        return self.in_force().filter(Q(team=team_id) | Q(team=None)).order_by(F("team_id").asc(nulls_last=True))


class Published(models.Model):
    """A version of something that governs a team. Never changed: the next version takes its place."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    team = models.ForeignKey(Team, null=True, on_delete=models.PROTECT, related_name="+", db_index=False)
    version = models.PositiveIntegerField()
    content = models.JSONField()
    published_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    published_at = models.DateTimeField(default=timezone.now)
    retired_at = models.DateTimeField(null=True)

    objects = PublishedQuerySet.as_manager()

    class Meta:
        abstract = True
        constraints = [
            models.UniqueConstraint(fields=["team", "version"], name="%(class)s_version_once", nulls_distinct=False),
            models.UniqueConstraint(
                fields=["team"], condition=Q(retired_at__isnull=True), name="%(class)s_in_force", nulls_distinct=False
            ),
        ]

    def __str__(self) -> str:
        return f"{self.team.slug if self.team else 'every team'}, version {self.version}"


class BusinessCalendar(Published):
    """When the people of a team are at work: {zone, hours?, holidays}."""


class EscalationPolicy(Published):
    """Who is asked, for how long, and then who else: {clock, when_paused, acknowledge_minutes, levels, …}."""

    after_last = models.CharField(max_length=10, choices=[(one.value, one.value) for one in AfterLast])

    class Meta(Published.Meta):
        constraints = [
            *Published.Meta.constraints,
            models.CheckConstraint(condition=silent_end("after_last"), name="escalation_never_approves"),
            models.CheckConstraint(condition=silent_end("content__after_last"), name="escalation_never_says_so"),
        ]


class ApprovalClock(models.Model):
    """An interval in which the clock of a question ran. A trigger ends the last one when the question closes."""

    approval = models.ForeignKey("approvals.Approval", on_delete=models.CASCADE, related_name="clock")
    started_at = models.DateTimeField()
    stopped_at = models.DateTimeField(null=True)
    why = models.CharField(max_length=80, blank=True, help_text="Why it stopped.")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["approval"], condition=Q(stopped_at__isnull=True), name="approval_clock_runs_once"
            ),
            models.CheckConstraint(
                condition=Q(stopped_at__isnull=True) | Q(stopped_at__gte=F("started_at")), name="approval_clock_forward"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.started_at:%H:%M:%S} to {self.stopped_at or 'now'}"


class Escalation(models.Model):
    """Something that happened to a question because time passed: when it was due, when it was done, who was told."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    approval = models.ForeignKey("approvals.Approval", on_delete=models.CASCADE, related_name="escalations")
    rung = models.PositiveSmallIntegerField(help_text="Where on the frozen ladder it stands since.")
    level = models.PositiveSmallIntegerField()
    what = models.CharField(max_length=10, choices=[(one.value, one.value) for one in What])
    due_at = models.DateTimeField()
    at = models.DateTimeField()
    told = models.JSONField(default=list, help_text="Names of the accounts that this concerns.")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["approval", "rung"], condition=~Q(what="reopened"), name="escalation_rung_once"
            ),
        ]
        indexes = [models.Index(fields=["at"], name="escalation_expired", condition=Q(what="expired"))]

    def __str__(self) -> str:
        return f"L{self.level} {self.what}"
