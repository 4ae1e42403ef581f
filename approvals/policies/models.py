"""Versions of the policies, and where a version that is only tried would have said something else."""

from typing import Any, ClassVar, Self

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from uuid_utils.compat import uuid7

from agents.models import TeamOwnedQuerySet


class PolicySetQuerySet(models.QuerySet[Any]):
    """Versions; they hold for every team."""

    def at_work(self) -> Self:
        """The version that holds and the one that is tried beside it: those that drivers need."""
        return self.filter(state__in=[PolicySet.State.ENFORCED, PolicySet.State.LOG_ONLY])


class PolicySet(models.Model):
    """All policies of the installation, as one immutable version.

    `draft → log_only → enforced → retired`, and back by a roll-back. Once published nothing but its state changes; a
    trigger refuses the rest.
    """

    class State(models.TextChoices):
        DRAFT = "draft", "draft"
        LOG_ONLY = "log_only", "log only"
        ENFORCED = "enforced", "enforced"
        RETIRED = "retired", "retired"

    HUES: ClassVar[dict[str, str]] = {
        State.DRAFT: "still",
        State.LOG_ONLY: "wait",
        State.ENFORCED: "ok",
        State.RETIRED: "still",
    }

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    number = models.PositiveIntegerField(unique=True)
    digest = models.CharField(max_length=64, unique=True, help_text="Of policies, cases and surface together.")
    files = models.JSONField(help_text="The policies: {file name: Cedar}.")
    cases = models.JSONField(help_text="What it must allow, hold or deny.")
    surface = models.JSONField(help_text="The tools it can speak about, as they were when it was published.")
    state = models.CharField(max_length=8, choices=State, default=State.DRAFT)
    published_at = models.DateTimeField(default=timezone.now)
    published_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    enforced_at = models.DateTimeField(null=True, help_text="When it began to hold, the last time.")
    enforced_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")

    replaced = models.ForeignKey(
        "self", null=True, on_delete=models.PROTECT, related_name="+", help_text="What held before it; goes back to it."
    )

    objects = PolicySetQuerySet.as_manager()

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(fields=["state"], condition=Q(state="enforced"), name="policy_enforced_once"),
            models.UniqueConstraint(fields=["state"], condition=Q(state="log_only"), name="policy_log_only_once"),
        ]

    def __str__(self) -> str:
        return f"policies {self.number}"

    @property
    def hue(self) -> str:
        """The colour class of this state."""
        return self.HUES[self.state]

    @property
    def text(self) -> str:
        """All its policies, file after file."""
        return "\n".join(text for _, text in sorted(self.files.items()))


class PolicyDifference(models.Model):
    """An action about which the version that is only tried says something else than what held then.

    Written in batches beside the work, so without foreign keys that would have to be looked up.
    """

    policy_set = models.ForeignKey(PolicySet, on_delete=models.CASCADE, related_name="differences")
    run_id = models.UUIDField()
    seq = models.PositiveIntegerField()
    agent_id = models.UUIDField()
    agent = models.CharField(max_length=80)
    team_id = models.UUIDField()
    name = models.CharField(max_length=160)
    was = models.CharField(max_length=8)
    would = models.CharField(max_length=8)
    rules = models.JSONField(default=list)
    reason = models.TextField(blank=True)
    at = models.DateTimeField(default=timezone.now)

    objects = TeamOwnedQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["policy_set", "run_id", "seq"], name="policy_difference_once")]
        indexes = [models.Index(fields=["policy_set", "-id"], name="policy_difference_newest")]

    def __str__(self) -> str:
        return f"{self.name}: {self.was}, would {self.would}"
