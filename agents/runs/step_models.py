"""What a run did: its steps, the tries that came to nothing, what went in and out, and the records it touched.

A step is the checkpoint; `(run, seq)` is its key and the key of everything that hangs on it.
"""

from typing import ClassVar

from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from agents.audit.transactions import CurrentXidNumber
from agents.people.models import TeamOwnedQuerySet
from agents.runs.models import Run


class StepQuerySet(TeamOwnedQuerySet):
    """Steps of runs of one's teams."""

    team_path = "run__team_id"


class Step(models.Model):
    """One thing a run did, and the checkpoint that it did it.

    `held → intended → done | failed | refused | in_doubt | cancelled`; a step that neither acts outside nor is priced
    starts at its end. `turn` is the seq of the first step asked for together with this one.
    """

    class State(models.TextChoices):
        HELD = "held"
        INTENDED = "intended"
        DONE = "done"
        FAILED = "failed"
        REFUSED = "refused"
        IN_DOUBT = "in_doubt", "in doubt"
        CANCELLED = "cancelled"

    class Kind(models.TextChoices):
        MODEL = "model"
        TOOL = "tool"
        WAIT = "wait"
        DELEGATE = "delegate"

    HUES: ClassVar[dict[str, str]] = {
        State.HELD: "wait",
        State.INTENDED: "busy",
        State.DONE: "ok",
        State.FAILED: "bad",
        State.REFUSED: "warn",
        State.IN_DOUBT: "wait",
        State.CANCELLED: "still",
    }
    CLOSED: ClassVar[frozenset[str]] = frozenset({State.DONE, State.FAILED, State.REFUSED, State.CANCELLED})

    pk = models.CompositePrimaryKey("run_id", "seq")
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="steps", db_index=False, db_constraint=False)
    seq = models.PositiveIntegerField()
    turn = models.PositiveIntegerField()
    agent_id = models.UUIDField()
    kind = models.CharField(max_length=8, choices=Kind)
    name = models.CharField(max_length=160)
    state = models.CharField(max_length=12, choices=State)
    attempt = models.PositiveSmallIntegerField(default=1, db_default=1)
    says = models.TextField(blank=True, default="", db_default="", help_text="The act in one plain sentence.")
    tier = models.PositiveSmallIntegerField(null=True)
    writes = models.BooleanField(default=False, db_default=False)
    call_id = models.CharField(
        max_length=120, blank=True, default="", db_default="", help_text="The provider's; they repeat, so never a key."
    )
    idempotency_key = models.CharField(max_length=80, blank=True, default="", db_default="")

    confidence = models.FloatField(null=True)
    confidence_source = models.CharField(max_length=16, default="unknown", db_default="unknown")
    gate = models.CharField(max_length=60, blank=True, default="", db_default="", help_text="Who held or refused it.")
    gate_reason = models.TextField(blank=True, default="", db_default="")
    answer = models.JSONField(null=True, help_text="What a person said about it (contracts.Answer).")
    in_force = models.JSONField(null=True, help_text="Parameters this step ran with.")

    compensates = models.PositiveIntegerField(null=True, help_text="The seq of the act that this one takes back.")

    created_at = models.DateTimeField(default=timezone.now, db_default=Now())
    due_at = models.DateTimeField(null=True, help_text="When it is tried again.")
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    simulated = models.BooleanField(default=False, db_default=False)

    provider = models.CharField(max_length=60, blank=True, default="", db_default="")
    model = models.CharField(max_length=120, blank=True, default="", db_default="")
    tokens_in = models.IntegerField(null=True)
    tokens_out = models.IntegerField(null=True)
    cache_read = models.IntegerField(null=True)
    cache_write = models.IntegerField(null=True)
    cost = models.DecimalField(max_digits=16, decimal_places=8, null=True)
    cost_kind = models.CharField(max_length=10, blank=True, default="", db_default="")

    error_class = models.CharField(max_length=60, blank=True, default="", db_default="")
    error = models.TextField(blank=True, default="", db_default="")
    # Rises with the table, so a BRIN index finds what is new at no cost to the checkpoint, and lets outcomes be HOT.
    xid = models.BigIntegerField(db_default=CurrentXidNumber(output_field=models.BigIntegerField()), editable=False)

    objects = StepQuerySet.as_manager()

    class Meta:
        indexes = [
            BrinIndex(fields=["xid"], name="step_xid", pages_per_range=32),
            models.Index(
                fields=["run", "seq"], name="step_open", condition=Q(state__in=["held", "intended", "in_doubt"])
            ),
            models.Index(
                fields=["agent_id", "name", "created_at"],
                name="step_refused",
                condition=Q(state="refused", gate="policy"),
            ),
            models.Index(
                fields=["agent_id", "created_at"], name="step_undoing", condition=Q(compensates__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        return f"step {self.seq} · {self.name}"

    @property
    def is_announced(self) -> bool:
        """Whether it goes ahead by itself at `due_at` unless somebody stops it."""
        return self.state == self.State.HELD and self.due_at is not None and self.answer is None

    @property
    def hue(self) -> str:
        """The colour class of this state."""
        return self.HUES[self.state]


class StepAttempt(models.Model):
    """A try at a step that came to nothing, and when the next one is due. The try that ends it is the step itself."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="attempts", db_index=False, db_constraint=False)
    seq = models.PositiveIntegerField()
    number = models.PositiveSmallIntegerField()
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField()
    error_class = models.CharField(max_length=60)
    error = models.TextField()
    provider = models.CharField(max_length=60, blank=True)
    model = models.CharField(max_length=120, blank=True)
    cost = models.DecimalField(max_digits=16, decimal_places=8, null=True)
    due_at = models.DateTimeField(null=True, help_text="When the next try was to come; null when there was none.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["run", "seq", "number"], name="attempt_once")]

    def __str__(self) -> str:
        return f"try {self.number} of step {self.seq}"


class StepPayload(models.Model):
    """What went into a step and what came out; apart, so that it can be encrypted, shredded and kept differently."""

    pk = models.CompositePrimaryKey("run_id", "seq")
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="payloads", db_index=False, db_constraint=False)
    seq = models.PositiveIntegerField()
    input = models.JSONField(null=True)
    output = models.JSONField(null=True)

    def __str__(self) -> str:
        return f"payload of step {self.seq}"


class Touch(models.Model):
    """A record outside that an act touches: what would have to be undone, for whom, for how much, until when."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="touches")
    seq = models.PositiveIntegerField()
    kind = models.CharField(max_length=60)
    record = models.CharField(max_length=200)
    customer = models.CharField(max_length=200, blank=True)
    amount = models.DecimalField(max_digits=14, decimal_places=2, null=True)
    currency = models.CharField(max_length=3, blank=True)
    undoable_until = models.DateTimeField(null=True)

    class Meta:
        indexes = [models.Index(fields=["kind", "record"], name="touch_record")]
        constraints = [
            models.UniqueConstraint(fields=["run", "seq", "kind", "record"], name="touch_once"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.record}"
