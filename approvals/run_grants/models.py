"""The grant, and every use of it. A grant ends with its run, since nothing of a run happens afterwards."""

from django.conf import settings
from django.db import models
from django.utils import timezone
from uuid_utils.compat import uuid7

from agents.models import Run, Team, TeamOwnedQuerySet


class RunGrant(models.Model):
    """The same act may happen again in this run unasked: on the same records, for no more money, until revoked."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="grants", db_index=False)
    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="+", db_index=False)
    decision = models.OneToOneField("approvals.Decision", on_delete=models.CASCADE, related_name="run_grant")
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False)
    tool = models.CharField(max_length=160)
    gates = models.JSONField(help_text="Who had asked: a hold of any other gate is asked about.")
    bound = models.JSONField(help_text="Release, tier and policy that it counts for.")
    records = models.JSONField(help_text="What may be touched: [{kind, record, customer, amount, currency}].")
    given_at = models.DateTimeField(default=timezone.now)
    revoked_at = models.DateTimeField(null=True)
    revoked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    revoked_because = models.TextField(blank=True)

    objects = TeamOwnedQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(fields=["run", "tool", "-id"], name="run_grant_run")]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(revoked_at__isnull=True, revoked_by__isnull=True)
                | models.Q(revoked_at__isnull=False, revoked_by__isnull=False),
                name="run_grant_revoked_whole",
            )
        ]

    def __str__(self) -> str:
        return f"{self.tool} for the rest of a run"


class RunGrantUse(models.Model):
    """One act that happened unasked because of a grant: a step of its run, once however often it is tried."""

    grant = models.ForeignKey(RunGrant, on_delete=models.CASCADE, related_name="uses")
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="+", db_index=False)
    seq = models.PositiveIntegerField()
    says = models.TextField(blank=True)
    digest = models.CharField(max_length=64)
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["run", "seq"], name="run_grant_used_once")]

    def __str__(self) -> str:
        return f"step {self.seq}"
