"""What is kept so that decisions can teach, besides the decisions themselves: who looked at a question and when, and
which agents have shown enough to go further alone."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from uuid_utils.compat import uuid7

from agents.models import Agent, Autonomy, TeamOwnedQuerySet


class Look(models.Model):
    """Somebody who may answer a question opened it: the first time only, and what stood there then."""

    pk = models.CompositePrimaryKey("approval_id", "by_id")
    approval = models.ForeignKey("approvals.Approval", on_delete=models.CASCADE, related_name="looks", db_index=False)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", db_index=False)
    at = models.DateTimeField(default=timezone.now)
    digest = models.CharField(max_length=64, help_text="Of the act and of the story before it, as they were shown.")

    class Meta:
        indexes = [models.Index(fields=["by", "-at"], name="look_by")]

    def __str__(self) -> str:
        return f"{self.by} looked at {self.approval}"


class ProposalQuerySet(TeamOwnedQuerySet):
    """Proposals about agents of one's teams."""

    team_path = "agent__team_id"


class Proposal(models.Model):
    """An agent has shown enough with one tool to use it at a milder tier: open until governance ratifies or declines
    it, or until it no longer holds. Nothing changes before."""

    class State(models.TextChoices):
        OPEN = "open"
        RATIFIED = "ratified"
        DECLINED = "declined"
        WITHDRAWN = "withdrawn"

    HUES = {State.OPEN: "wait", State.RATIFIED: "ok", State.DECLINED: "bad", State.WITHDRAWN: "still"}

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    agent = models.ForeignKey(Agent, on_delete=models.CASCADE, related_name="proposals", db_index=False)
    tool = models.CharField(max_length=160)
    before = models.PositiveSmallIntegerField()
    after = models.PositiveSmallIntegerField()
    evidence = models.JSONField(help_text="What it rested on when it was opened, and again when it was ratified.")
    state = models.CharField(max_length=10, choices=State, default=State.OPEN)
    opened_at = models.DateTimeField(default=timezone.now)
    closed_at = models.DateTimeField(null=True)
    closed_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    reason = models.TextField(blank=True)
    request_id = models.UUIDField(null=True, unique=True)
    autonomy = models.ForeignKey(Autonomy, null=True, on_delete=models.SET_NULL, related_name="+")

    objects = ProposalQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["agent", "tool", "-id"], name="proposal_agent"),
            models.Index(fields=["state", "-id"], name="proposal_state"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["agent", "tool"], condition=Q(state="open"), name="proposal_open_once"),
            models.CheckConstraint(
                condition=Q(state="open", closed_at__isnull=True) | (~Q(state="open") & Q(closed_at__isnull=False)),
                name="proposal_closed_when",
            ),
            models.CheckConstraint(condition=Q(after__gte=1, after__lt=models.F("before")), name="proposal_is_milder"),
        ]

    def __str__(self) -> str:
        return f"{self.agent} does {self.tool} at tier {self.after} instead of {self.before}"

    @property
    def hue(self) -> str:
        """The colour class of this state."""
        return self.HUES[self.State(self.state)]

    @property
    def is_open(self) -> bool:
        """Whether somebody has yet to say."""
        return self.state == self.State.OPEN


class Plant(models.Model):
    """A request that somebody made up to see whether it is noticed. It looks like any other until it is answered; it
    is never carried out, and says so afterwards. `caught` is None until then, where nobody answered, and where it was
    rejected together with others."""

    approval = models.OneToOneField("approvals.Approval", on_delete=models.CASCADE, primary_key=True)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    wrong = models.TextField(help_text="What is wrong with it, which a reviewer should notice.")
    request_id = models.UUIDField(unique=True)
    planted_at = models.DateTimeField(default=timezone.now)
    revealed_at = models.DateTimeField(null=True)
    caught = models.BooleanField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(caught__isnull=True) | Q(revealed_at__isnull=False), name="plant_caught_when_revealed"
            )
        ]

    def __str__(self) -> str:
        return f"planted: {self.wrong}"

    @property
    def standing(self) -> str:
        """What became of it, in words."""
        if self.revealed_at is None:
            return "waits"
        if self.caught is None:
            return "rejected with others" if self.approval.state == "rejected" else "nobody answered"
        return "caught" if self.caught else "let through"

    @property
    def hue(self) -> str:
        """The colour class of that."""
        return {"waits": "wait", "caught": "ok", "let through": "bad"}.get(self.standing, "still")
