"""Evidence that is stored beside the runs: who is alive, what happened each minute, how far batch readers have come.

Apart from the nouns of work because nothing here is the truth about a run: it can all be derived again.
"""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils import timezone

from agents.registry.models import Agent


class Worker(models.Model):
    """A process that drives runs or keeps time, and when it last showed a sign of life."""

    class Kind(models.TextChoices):
        WORKER = "worker"
        TICK = "tick"

    name = models.CharField(primary_key=True, max_length=160)
    kind = models.CharField(max_length=8, choices=Kind)
    host = models.CharField(max_length=120)
    pid = models.PositiveIntegerField()
    driving = models.PositiveIntegerField(default=0, help_text="Runs it holds.")
    started_at = models.DateTimeField(default=timezone.now)
    seen_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return self.name


RUN_BOUNDS = (0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 900, 3600)
"""Upper bounds in seconds of the latency histograms; one more bucket holds everything above."""


def _zeros() -> list[int]:
    return [0] * (len(RUN_BOUNDS) + 1)


class AgentMinute(models.Model):
    """What one agent did in one minute, derived from steps and runs behind a watermark. Pages about the fleet read
    this."""

    agent = models.ForeignKey(Agent, on_delete=models.CASCADE, related_name="minutes")
    minute = models.DateTimeField()
    runs_completed = models.IntegerField(default=0)
    runs_failed = models.IntegerField(default=0)
    runs_cancelled = models.IntegerField(default=0)
    steps = models.IntegerField(default=0)
    model_calls = models.IntegerField(default=0)
    tool_calls = models.IntegerField(default=0)
    step_errors = models.IntegerField(default=0)
    refusals = models.IntegerField(default=0)
    holds = models.IntegerField(default=0)
    tokens_in = models.BigIntegerField(default=0)
    tokens_out = models.BigIntegerField(default=0)
    cost = models.DecimalField(max_digits=16, decimal_places=8, default=0)
    unpriced = models.IntegerField(default=0)
    confidence_sum = models.FloatField(default=0)
    confidence_count = models.IntegerField(default=0)
    run_seconds = ArrayField(models.IntegerField(), default=_zeros, size=len(RUN_BOUNDS) + 1)
    step_seconds = ArrayField(models.IntegerField(), default=_zeros, size=len(RUN_BOUNDS) + 1)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["agent", "minute"], name="agent_minute_once")]
        indexes = [models.Index(fields=["-minute", "agent"], name="agent_minute_newest")]

    def __str__(self) -> str:
        return f"{self.agent_id} {self.minute:%H:%M}"


class Watermark(models.Model):
    """How far a batch reader has come: everything below `xid` is counted."""

    name = models.CharField(primary_key=True, max_length=60)
    xid = models.BigIntegerField(default=0)
    moved_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"{self.name} at {self.xid}"
