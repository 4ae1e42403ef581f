"""Who handed which question to whom."""

from django.conf import settings
from django.db import models
from django.utils import timezone
from uuid_utils.compat import uuid7


class Delegation(models.Model):
    """A question that one person handed to another, with a note. Who holds it now, its claim says."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    approval = models.ForeignKey(
        "approvals.Approval", on_delete=models.CASCADE, related_name="delegations", db_index=False
    )
    to = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    note = models.TextField()
    request_id = models.UUIDField(unique=True)
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes = [models.Index(fields=["approval", "-id"], name="delegation_last")]

    def __str__(self) -> str:
        return f"delegated to {self.to.name} by {self.by.name}: {self.note}"
