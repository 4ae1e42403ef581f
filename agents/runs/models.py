"""How work gets done: a run, and the recording that one may replay. Its steps are in `step_models.py`, what people ask
of it in `control_models.py`."""

from datetime import timedelta
from decimal import Decimal
from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from uuid_utils.compat import uuid7

from agents import errors
from agents.audit.transactions import CurrentXid, Xid8Field
from agents.people.models import Team, TeamOwnedQuerySet
from agents.registry.models import Agent, Release


class Recording(models.Model):
    """What a recorded program replays: a run that somebody else's agent made, whole, named by its content."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    source_id = models.CharField(max_length=300)
    digest = models.CharField(max_length=64, unique=True)
    content = models.JSONField()

    def __str__(self) -> str:
        return self.source_id


class RunQuerySet(TeamOwnedQuerySet):
    """Runs, newest first by id (UUIDv7 is time ordered)."""

    def live(self) -> "RunQuerySet":
        """Runs that have not ended."""
        return self.exclude(state__in=Run.ENDED)


class Run(models.Model):
    """One durable attempt at an objective, pinned to its release. A driver holds it by a lease with a fencing token."""

    class State(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        WAITING = "waiting"
        PAUSED = "paused"
        COMPENSATING = "compensating"
        COMPLETED = "completed"
        FAILED = "failed"
        CANCELLED = "cancelled"

    class Asked(models.TextChoices):
        """What a person has asked of a run that is being driven."""

        NOTHING = ""
        PAUSE = "pause"
        CANCEL = "cancel"

    class Queue(models.TextChoices):
        """Classes of runs; each has workers of its own. Those of `outside` are not ours."""

        MODEL = "model"
        TOOL = "tool"
        CONTROL = "control"
        BULK = "bulk"
        OUTSIDE = "outside"

    class Waits(models.TextChoices):
        """What a waiting run waits for."""

        NOTHING = ""
        APPROVAL = "approval", "approval"
        DOUBT = "doubt", "a person to say what happened"
        DECISION = "decision", "a person to decide how it goes on"
        TIMER = "timer", "its timer"
        RETRY = "retry", "the next try"
        CAPACITY = "capacity", "capacity"
        DELEGATION = "delegation", "delegated runs"
        WINDOW = "window", "the moment it was announced for"
        OUTSIDE = "outside", "its agent, which runs elsewhere"

    DRIVEN: ClassVar[frozenset[str]] = frozenset({State.RUNNING, State.COMPENSATING})
    ENDED: ClassVar[frozenset[str]] = frozenset({State.COMPLETED, State.FAILED, State.CANCELLED})
    NEXT: ClassVar[dict[str, frozenset[str]]] = {
        # Queued anew: to take its acts back instead of going on.
        State.QUEUED: frozenset(
            {State.QUEUED, State.RUNNING, State.COMPENSATING, State.PAUSED, State.CANCELLED, State.FAILED}
        ),
        State.RUNNING: frozenset(
            {
                State.QUEUED,
                State.WAITING,
                State.PAUSED,
                State.COMPENSATING,
                State.COMPLETED,
                State.FAILED,
                State.CANCELLED,
            }
        ),
        # A session of an agent elsewhere is never driven here: it waits, is paused, and is over.
        State.WAITING: frozenset({State.QUEUED, State.PAUSED, State.COMPLETED, State.FAILED, State.CANCELLED}),
        State.PAUSED: frozenset({State.QUEUED, State.WAITING, State.CANCELLED, State.FAILED}),
        State.COMPENSATING: frozenset({State.QUEUED, State.WAITING, State.PAUSED, State.FAILED, State.CANCELLED}),
        State.COMPLETED: frozenset(),
        State.FAILED: frozenset(),
        State.CANCELLED: frozenset(),
    }
    HUES: ClassVar[dict[str, str]] = {
        State.QUEUED: "still",
        State.RUNNING: "busy",
        State.WAITING: "wait",
        State.PAUSED: "still",
        State.COMPENSATING: "warn",
        State.COMPLETED: "ok",
        State.FAILED: "bad",
        State.CANCELLED: "still",
    }

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    # Every state change writes every index, so there are few: the composite ones below answer for these keys.
    agent = models.ForeignKey(Agent, on_delete=models.PROTECT, related_name="runs", db_index=False)
    release = models.ForeignKey(Release, on_delete=models.PROTECT, related_name="runs", db_index=False)
    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="+", db_index=False)
    program_digest = models.CharField(max_length=64, blank=True)
    objective = models.TextField()
    input = models.JSONField(default=dict)
    environment = models.CharField(max_length=8, choices=Agent.Environment, default=Agent.Environment.LIVE)
    queue = models.CharField(max_length=8, choices=Queue, default=Queue.MODEL)
    state = models.CharField(max_length=12, choices=State, default=State.QUEUED)
    started_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+", db_index=False
    )
    request_id = models.UUIDField(null=True, unique=True, help_text="Asking twice with the same id starts one run.")

    created_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    deadline_at = models.DateTimeField(null=True)
    changed_at = models.DateTimeField(default=timezone.now, help_text="When the state last moved.")

    # Driving: who holds it, until when, what people want of it. Only runs/hotpath.py and runs/interventions.py write
    # here.
    lease_token = models.BigIntegerField(default=0)
    lease_until = models.DateTimeField(null=True)
    lease_holder = models.CharField(max_length=120, blank=True)
    asked = models.CharField(max_length=8, choices=Asked, default=Asked.NOTHING, blank=True)
    wake_at = models.DateTimeField(null=True, help_text="A waiting run's timer.")
    rung_at = models.DateTimeField(null=True)
    rings = models.PositiveSmallIntegerField(
        default=0, help_text="Rings without a claim: doubles the pause before the next."
    )
    deaths = models.PositiveSmallIntegerField(default=0, help_text="Drivers lost since the last stored step.")

    # What it has done so far; each checkpoint adds to these.
    steps_done = models.PositiveIntegerField(default=0)
    tokens_in = models.BigIntegerField(default=0)
    tokens_out = models.BigIntegerField(default=0)
    cost = models.DecimalField(max_digits=16, decimal_places=8, default=0)
    unpriced = models.PositiveIntegerField(default=0, help_text="Billed calls without a known price.")
    cost_below = models.DecimalField(
        max_digits=16,
        decimal_places=8,
        default=0,
        db_default=0,
        help_text="Of the runs it delegated to, all the way down.",
    )
    waiting_for = models.CharField(max_length=200, blank=True)
    waits = models.CharField(max_length=12, choices=Waits, default="", db_default="", blank=True)

    # How it goes on besides its program: what was changed for it, whom it works for, how it will end.
    tuning = models.PositiveIntegerField(default=0, db_default=0, help_text="Rises with each change of its parameters.")
    question = models.JSONField(null=True, help_text="A decision about the run itself that a person is asked for.")
    ending = models.JSONField(
        null=True, help_text="How it ends when its acts are taken back: {state, failure_class, failure}."
    )
    parent = models.ForeignKey("self", null=True, on_delete=models.CASCADE, related_name="children", db_index=False)
    parent_seq = models.PositiveIntegerField(null=True)
    depth = models.PositiveSmallIntegerField(default=0, db_default=0)

    result = models.JSONField(null=True)
    failure_class = models.CharField(max_length=60, blank=True)
    failure = models.TextField(blank=True)
    xid = Xid8Field()

    objects = RunQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["team", "-id"], name="run_team"),
            models.Index(fields=["agent", "-id"], name="run_agent"),
            models.Index(fields=["state", "-id"], name="run_state"),
            models.Index(
                fields=["agent", "state"],
                name="run_unfinished",
                condition=~Q(state__in=["completed", "failed", "cancelled"]),
            ),
            models.Index(fields=["xid"], name="run_ended_xid", condition=Q(finished_at__isnull=False)),
            models.Index(
                fields=["deadline_at"],
                name="run_deadline",
                condition=Q(deadline_at__isnull=False, finished_at__isnull=True),
            ),
            models.Index(fields=["parent", "parent_seq"], name="run_parent", condition=Q(parent__isnull=False)),
            models.Index(
                fields=["parent"], name="run_delegated", condition=Q(parent__isnull=False, finished_at__isnull=True)
            ),
            models.Index(fields=["wake_at"], name="run_timer", condition=Q(state="waiting", wake_at__isnull=False)),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=["completed", "failed", "cancelled"], finished_at__isnull=False)
                | (~Q(state__in=["completed", "failed", "cancelled"]) & Q(finished_at__isnull=True)),
                name="run_finished_when_ended",
            ),
        ]

    def __str__(self) -> str:
        return f"run {str(self.id)[-12:]}"

    def move(self, *, to: str, **also: Any) -> None:
        """Compare-and-set: when two people press at once, one wins and one is told."""
        allowed = [state for state, following in self.NEXT.items() if to in following]
        now = timezone.now()
        fields: dict[str, Any] = {"state": to, "changed_at": now, **also}
        if to in self.ENDED:
            fields |= {
                "finished_at": now,
                "asked": "",
                "lease_until": None,
                "lease_holder": "",
                "wake_at": None,
                "waiting_for": "",
                "waits": "",
                "xid": CurrentXid(),
            }
        # Fenced: whoever was driving learns at its next write that the run is no longer its own.
        fields["lease_token"] = F("lease_token") + 1
        if not Run.objects.filter(pk=self.pk, state__in=allowed).update(**fields):
            current = Run.objects.values_list("state", flat=True).get(pk=self.pk)
            raise errors.Conflict(f"This run is {current}; it can no longer be {Run.State(to).label.lower()}.")
        self.refresh_from_db()

    @property
    def hue(self) -> str:
        """The colour class of this state, the same on every page."""
        return self.HUES[self.state]

    @property
    def is_ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in self.ENDED

    @property
    def took(self) -> timedelta | None:
        """How long it has been at work, waits included; None before its first step."""
        return None if self.started_at is None else (self.finished_at or timezone.now()) - self.started_at

    @property
    def tokens(self) -> int:
        """Tokens in and out that somebody counted or estimated."""
        return self.tokens_in + self.tokens_out

    @property
    def known_cost(self) -> Decimal | None:
        """What it cost as far as prices are known; None where nothing of it has a price, or nobody told."""
        return None if (self.unpriced or self.is_elsewhere) and not self.cost else self.cost

    @property
    def is_elsewhere(self) -> bool:
        """Whether no worker of ours drives it, so that what it spends is known there and not here."""
        return self.queue == self.Queue.OUTSIDE
