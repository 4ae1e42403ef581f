"""What people ask of runs and agents: controls, and parameters changed for a time."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from uuid_utils.compat import uuid7

from agents.registry.models import Agent
from agents.runs.models import Run


class Control(models.Model):
    """What a person asked of a run or an agent. One row per request id: asking twice is one act."""

    class Verb(models.TextChoices):
        PAUSE = "pause"
        RESUME = "resume"
        CANCEL = "cancel"
        FREEZE = "freeze"
        THAW = "thaw"
        KEEP = "keep", "go on with its release"
        MOVE = "move", "move to the live release"
        STOP = "stop", "stop an act that was announced"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    run = models.ForeignKey(Run, null=True, on_delete=models.CASCADE, related_name="controls")
    agent = models.ForeignKey(Agent, null=True, on_delete=models.CASCADE, related_name="controls")
    verb = models.CharField(max_length=8, choices=Verb)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    reason = models.TextField(blank=True)
    request_id = models.UUIDField(unique=True)
    asked_at = models.DateTimeField(default=timezone.now)
    obeyed_at = models.DateTimeField(null=True)

    class Meta:
        indexes = [models.Index(fields=["run", "-asked_at"], name="control_run")]
        constraints = [
            models.CheckConstraint(
                condition=Q(run__isnull=False) ^ Q(agent__isnull=False), name="control_of_one_thing"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.verb} by {self.by or 'cockpit'}"


class Override(models.Model):
    """A parameter of one run, or of every run of an agent, changed from the next step on, until it ends by itself or
    by hand. `parameter` is its place in the release's bundle, such as `limits.cost_usd`."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    run = models.ForeignKey(Run, null=True, on_delete=models.CASCADE, related_name="overrides", db_index=False)
    agent = models.ForeignKey(Agent, on_delete=models.CASCADE, related_name="overrides", db_index=False)
    parameter = models.CharField(max_length=120)
    before = models.JSONField(null=True)
    value = models.JSONField(null=True)
    reason = models.TextField()
    by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    request_id = models.UUIDField(unique=True)
    made_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    ended_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    ended_because = models.TextField(blank=True)
    end_request_id = models.UUIDField(null=True, unique=True, help_text="Of whoever took it back.")

    class Meta:
        indexes = [
            models.Index(fields=["agent", "-made_at"], name="override_agent"),
            models.Index(fields=["run", "-made_at"], name="override_run", condition=Q(run__isnull=False)),
            models.Index(fields=["expires_at"], name="override_due", condition=Q(ended_at__isnull=True)),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["run", "parameter"],
                condition=Q(run__isnull=False, ended_at__isnull=True),
                name="override_run_once",
            ),
            models.UniqueConstraint(
                fields=["agent", "parameter"],
                condition=Q(run__isnull=True, ended_at__isnull=True),
                name="override_agent_once",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.parameter} overridden by {self.by or 'cockpit'}"
