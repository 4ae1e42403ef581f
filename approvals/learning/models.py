"""What is kept so that decisions can teach, besides the decisions themselves: who looked at a question, and when."""

from django.conf import settings
from django.db import models
from django.utils import timezone


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
