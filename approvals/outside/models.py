"""What agents elsewhere asked: their sessions, and every call with what it was told."""

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.utils import timezone
from uuid_utils.compat import uuid7

from agents.models import Agent, Run, TeamOwnedQuerySet


class OutsideSession(models.Model):
    """Which run keeps what an account asks for an agent under one name, now; the next call of an ended one begins
    another run."""

    agent = models.ForeignKey(Agent, on_delete=models.CASCADE, related_name="+", db_index=False)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", db_index=False)
    name = models.CharField(max_length=120, blank=True)
    run = models.OneToOneField(Run, null=True, on_delete=models.CASCADE, related_name="outside_session")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["agent", "by", "name"], name="outside_session_once")]

    def __str__(self) -> str:
        return self.name or "its session"


class OutsideCallQuerySet(TeamOwnedQuerySet):
    """Calls of agents of one's teams."""

    team_path = "agent__team_id"


class OutsideCall(models.Model):
    """One call and what it was told. One row per request id: asking twice is one call."""

    class Verdict(models.TextChoices):
        ALLOW = "allow", "allowed"
        HOLD = "hold", "held"
        DENY = "deny", "denied"

    HUES: ClassVar[dict[str, str]] = {Verdict.ALLOW: "ok", Verdict.HOLD: "wait", Verdict.DENY: "bad"}

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    request_id = models.UUIDField(unique=True)
    agent = models.ForeignKey(Agent, on_delete=models.CASCADE, related_name="+", db_index=False)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", db_index=False)
    run = models.ForeignKey(Run, null=True, on_delete=models.CASCADE, related_name="+")
    approval = models.ForeignKey("approvals.Approval", null=True, on_delete=models.CASCADE, related_name="+")
    tool = models.CharField(max_length=160)
    digest = models.CharField(max_length=64, help_text="Of agent, tool, arguments and approval, as they were sent.")
    says = models.TextField(blank=True)
    verdict = models.CharField(max_length=5, choices=Verdict)
    gate = models.CharField(max_length=60, blank=True)
    reason = models.TextField(blank=True)
    at = models.DateTimeField(default=timezone.now)

    objects = OutsideCallQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(fields=["agent", "-id"], name="outside_call_agent")]

    def __str__(self) -> str:
        return self.says or self.tool

    @property
    def hue(self) -> str:
        """The colour class of what it was told."""
        return self.HUES[self.verdict]
