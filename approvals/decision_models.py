"""What a person answered. Apart from the question, which has enough to say of itself; read both from
`approvals.models`."""

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.utils import timezone
from uuid_utils.compat import uuid7


class Decision(models.Model):
    """What a person answered, once. A trigger refuses to change it. One row per request id: asking twice is one act."""

    class Answer(models.TextChoices):
        APPROVE = "approve", "Approve"
        EDIT = "edit", "Edit"
        REJECT = "reject", "Reject"
        ASK = "ask", "Ask back"
        OUTCOME = "outcome", "Post the outcome"
        ABSENT = "absent", "It did not happen"

    class Code(models.TextChoices):
        """Why an act was rejected, in a word that can be counted and that an agent can act on."""

        WRONG_TARGET = "wrong_target", "Wrong target"
        WRONG_AMOUNT = "wrong_amount", "Wrong amount"
        NOT_ALLOWED = "not_allowed", "Not allowed"
        NOT_NEEDED = "not_needed", "Not needed"
        MISSING_EVIDENCE = "missing_evidence", "Missing evidence"
        UNCLEAR = "unclear", "Unclear"
        OTHER = "other", "Something else"

    PAST: ClassVar[dict[str, str]] = {
        Answer.APPROVE: "Approved",
        Answer.EDIT: "Approved with changes",
        Answer.REJECT: "Rejected",
        Answer.ASK: "Asked back",
        Answer.OUTCOME: "Outcome posted",
        Answer.ABSENT: "Found not to have happened",
    }
    FINDING: ClassVar[dict[str, str]] = {
        Answer.OUTCOME: "Found to have happened",
        Answer.ABSENT: "Found not to have happened",
        Answer.REJECT: "Given up: nobody could tell",
    }
    REPLYING: ClassVar[dict[str, str]] = {Answer.OUTCOME: "Answered", Answer.REJECT: "Left unanswered"}
    TAKING_BACK: ClassVar[dict[str, str]] = {
        Answer.OUTCOME: "Taken back by hand",
        Answer.ABSENT: "Tried again",
        Answer.REJECT: "Left as it is",
    }

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    approval = models.ForeignKey("approvals.Approval", on_delete=models.CASCADE, related_name="decisions")
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    answer = models.CharField(max_length=10, choices=Answer)
    code = models.CharField(max_length=16, choices=Code, blank=True, default="", db_default="")
    reason = models.TextField(blank=True)
    arguments = models.JSONField(null=True, help_text="As edited; null when they were left as asked.")
    bound = models.JSONField(null=True, help_text="What the digest binds besides, where an edit changed that as well.")
    outcome = models.JSONField(null=True, help_text="What the person did or found.")
    digest = models.CharField(max_length=64, blank=True, help_text="Of the action this lets through; empty for none.")
    round = models.PositiveSmallIntegerField(
        default=1, db_default=1, help_text="Votes of one round are for one digest; an edit begins the next."
    )
    solo = models.TextField(
        default="", db_default="", blank=True, help_text="What the separation of duties said; solo mode lifted it."
    )
    request_id = models.UUIDField(unique=True)
    at = models.DateTimeField(default=timezone.now)
    seconds = models.FloatField(help_text="From the question to the answer.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["approval", "by", "round"], name="decision_one_vote_each")]

    def __str__(self) -> str:
        return f"{self.past} by {self.by.name}"

    @property
    def why(self) -> str:
        """The reason to read: its code in words, and what was said."""
        label = self.get_code_display() if self.code not in ("", self.Code.OTHER) else ""
        return ": ".join(filter(None, (label, self.reason)))

    @property
    def past(self) -> str:
        """The answer as something that has happened: `Approved`."""
        asked = self.approval
        if asked.kind == asked.Kind.SAMPLE:
            return "Found right" if self.answer == self.Answer.APPROVE else "Found wrong"
        if asked.kind == asked.Kind.IN_DOUBT:
            return (self.FINDING if asked.compensates is None else self.TAKING_BACK)[self.answer]
        if asked.kind == asked.Kind.QUESTION:
            return self.REPLYING[self.answer]
        return self.PAST[self.answer]
