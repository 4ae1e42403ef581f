"""The nouns of money: what every billed call cost and how that figure was made. Append-only, by trigger too."""

from typing import ClassVar

from django.db import models
from django.db.models import Q
from uuid_utils.compat import uuid7

from agents.models import Agent, Release, Run, Team, TeamOwnedQuerySet


class LedgerEntry(models.Model):
    """What one billed call cost. Never changed: a correction would be a row of its own.

    No foreign key is enforced by the database: a ledger outlives the runs it charges, and the checks would lock the
    rows of agent, team and release at every call of the whole fleet. Names are looked up when a report is written.
    """

    class Kind(models.TextChoices):
        PRICED = "priced"
        RECORDED = "recorded"
        ESTIMATED = "estimated"
        UNPRICED = "unpriced"

    HUES: ClassVar[dict[str, str]] = {
        Kind.PRICED: "ok",
        Kind.RECORDED: "ok",
        Kind.ESTIMATED: "warn",
        Kind.UNPRICED: "still",
    }

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    run = models.ForeignKey(Run, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+")
    seq = models.PositiveIntegerField()
    attempt = models.PositiveSmallIntegerField()
    agent = models.ForeignKey(Agent, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+")
    team = models.ForeignKey(Team, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+")
    release = models.ForeignKey(
        Release, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    use_case = models.CharField(max_length=80, blank=True)
    provider = models.CharField(max_length=60, blank=True)
    model = models.CharField(max_length=120, blank=True)
    tokens_in = models.IntegerField(null=True, help_text="With cache reads and writes; null where nobody told.")
    tokens_out = models.IntegerField(null=True)
    cache_read = models.IntegerField(null=True)
    cache_write = models.IntegerField(null=True)
    amount = models.DecimalField(max_digits=16, decimal_places=8, null=True, help_text="USD; null is unpriced.")
    kind = models.CharField(max_length=10, choices=Kind)
    basis = models.JSONField(
        default=dict, help_text="Unit prices, price source and version, model matched, or why not."
    )
    at = models.DateTimeField(help_text="When the call was made.")

    objects = TeamOwnedQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["at"], name="ledger_at"),
            models.Index(fields=["team", "at"], name="ledger_team"),
            models.Index(fields=["agent", "at"], name="ledger_agent"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["run", "seq", "attempt"], name="ledger_once"),
            models.CheckConstraint(
                condition=Q(amount__isnull=True, kind="unpriced") | (Q(amount__isnull=False) & ~Q(kind="unpriced")),
                name="ledger_unpriced_is_null",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.amount if self.amount is not None else '—'} USD"
