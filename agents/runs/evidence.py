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
    slots = models.PositiveIntegerField(default=0, db_default=0, help_text="Runs it can hold at once.")
    queues = models.CharField(
        max_length=60, default="", db_default="", blank=True, help_text="Classes of runs it takes, with commas."
    )
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


class Totals(models.Model):
    """What has ever closed. Rises only, also when old rows are deleted: written with the minutes, in one transaction.

    `seconds` counts by how long it took (`RUN_BOUNDS`), `seconds_sum` adds that up.
    """

    count = models.BigIntegerField(default=0)
    seconds = ArrayField(models.BigIntegerField(), default=_zeros, size=len(RUN_BOUNDS) + 1)
    seconds_sum = models.FloatField(default=0)

    class Meta:
        abstract = True


class StepTotal(Totals):
    """All steps that closed, by what they were and how they ended. `error_class` is empty where nothing went wrong."""

    kind = models.CharField(max_length=8)
    state = models.CharField(max_length=12)
    error_class = models.CharField(max_length=60, blank=True)
    provider = models.CharField(max_length=60, blank=True)
    model = models.CharField(max_length=120, blank=True)
    tokens_in = models.BigIntegerField(default=0)
    tokens_out = models.BigIntegerField(default=0)
    cost = models.DecimalField(max_digits=24, decimal_places=8, default=0)
    unpriced = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "state", "error_class", "provider", "model"], name="step_total_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.state} {self.error_class or self.model}"


class RunTotal(Totals):
    """All runs that ended, by how."""

    state = models.CharField(max_length=12)
    failure_class = models.CharField(max_length=60, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["state", "failure_class"], name="run_total_once")]

    def __str__(self) -> str:
        return f"{self.state} {self.failure_class}"


class TickJob(models.Model):
    """Something that happens because time passes: when it was last done, how late, how long it took."""

    name = models.CharField(primary_key=True, max_length=60)
    ran_at = models.DateTimeField(default=timezone.now)
    late_s = models.FloatField(default=0)
    took_s = models.FloatField(default=0)
    failures = models.BigIntegerField(default=0, help_text="Ever; the next time may have gone well.")

    def __str__(self) -> str:
        return self.name


class Watermark(models.Model):
    """How far a batch reader has come: everything below `xid` is counted."""

    name = models.CharField(primary_key=True, max_length=60)
    xid = models.BigIntegerField(default=0)
    moved_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"{self.name} at {self.xid}"
