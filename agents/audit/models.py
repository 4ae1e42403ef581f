"""Who did what to what, when and why. Rows are only ever added; a trigger refuses anything else."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from agents.audit.transactions import Xid8Field
from agents.people.models import Permission, Team, TeamOwnedQuerySet, User


class AuditQuerySet(TeamOwnedQuerySet):
    """Entries of one's teams; entries about no team (people, sign-ins) are for administrators."""

    def visible_to(self, user: User) -> "AuditQuerySet":
        """What this user may read."""
        everywhere, teams = user.places(Permission.SEE)
        if everywhere and user.may_somewhere(Permission.ADMINISTER):
            return self
        seen = Q(team_id__isnull=False) if everywhere else Q(team_id__in=teams)
        return self.filter(seen | Q(by_id=user.pk))


class AuditEntry(models.Model):
    """One act or refused attempt. `by` empty means the engine itself; `subject` is `kind:id`."""

    class Outcome(models.TextChoices):
        DONE = "done"
        DENIED = "denied"
        FAILED = "failed"

    id = models.BigAutoField(primary_key=True)
    at = models.DateTimeField(default=timezone.now)
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+", db_constraint=False
    )
    by_name = models.CharField(max_length=120)
    verb = models.CharField(max_length=60)
    outcome = models.CharField(max_length=8, choices=Outcome, default=Outcome.DONE)
    subject_kind = models.CharField(max_length=30)
    subject_id = models.CharField(max_length=80)
    subject_name = models.CharField(max_length=200, blank=True)
    team = models.ForeignKey(Team, null=True, on_delete=models.PROTECT, related_name="+", db_constraint=False)
    reason = models.TextField(blank=True)
    request_id = models.UUIDField(null=True)
    detail = models.JSONField(default=dict)
    xid = Xid8Field()

    objects = AuditQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["team", "-id"], name="audit_team"),
            models.Index(fields=["subject_kind", "subject_id", "-id"], name="audit_subject"),
            models.Index(fields=["verb", "-id"], name="audit_verb"),
            models.Index(fields=["by", "-id"], name="audit_by"),
        ]

    def __str__(self) -> str:
        return f"{self.by_name} {self.verb} {self.subject_kind} {self.subject_name or self.subject_id}"
