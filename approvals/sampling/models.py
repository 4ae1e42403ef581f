"""The share of acts that is looked at, where people set one, and what was seen and taken so far."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from uuid_utils.compat import uuid7

from agents.models import Agent

LEAST, MOST, USUAL = 10, 20, 15
"""Per cent of the acts of tier 2 that go to a person afterwards."""


class SampleRate(models.Model):
    """How much of what an agent does with one tool at tier 2 is looked at. Never changed: the last one holds."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    agent = models.ForeignKey(Agent, on_delete=models.CASCADE, related_name="sample_rates", db_index=False)
    tool = models.CharField(max_length=160)
    percent = models.PositiveSmallIntegerField()
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    reason = models.TextField()
    request_id = models.UUIDField(unique=True)
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes = [models.Index(fields=["agent", "tool", "-id"], name="sample_rate_last")]
        constraints = [
            models.CheckConstraint(condition=Q(percent__gte=LEAST, percent__lte=MOST), name="sample_rate_sane"),
        ]

    def __str__(self) -> str:
        return f"{self.percent} % of {self.tool} by {self.agent}"


class SampleCount(models.Model):
    """Acts of one agent with one tool in one stratum of confidence: how many there were, how many were taken."""

    id = models.BigAutoField(primary_key=True)
    agent = models.ForeignKey(Agent, on_delete=models.CASCADE, related_name="+", db_index=False)
    tool = models.CharField(max_length=160)
    stratum = models.CharField(max_length=12)
    seen = models.PositiveBigIntegerField(default=0)
    taken = models.PositiveBigIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["agent", "tool", "stratum"], name="sample_count_once")]

    def __str__(self) -> str:
        return f"{self.taken} of {self.seen} {self.tool} ({self.stratum})"
