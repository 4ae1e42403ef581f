"""Who did what to what, when and why, and the seals over it. Rows are only ever added; a trigger refuses all else."""

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
            models.Index(fields=["xid", "id"], name="audit_sealed_in"),
        ]

    def __str__(self) -> str:
        return f"{self.by_name} {self.verb} {self.subject_kind} {self.subject_name or self.subject_id}"


class AuditLeaf(models.Model):
    """An entry's place in the sealed order: the bytes that were sealed, their digest, and the chain up to here."""

    seq = models.BigIntegerField(primary_key=True, help_text="From 1, without gaps.")
    entry = models.OneToOneField(AuditEntry, on_delete=models.PROTECT, related_name="leaf", db_constraint=False)
    leaf = models.BinaryField(help_text="RFC 6962 leaf hash of `body`.")
    chain = models.BinaryField(help_text="SHA-256 of the chain before and this leaf.")
    body = models.BinaryField(help_text="The entry's canonical form.")

    def __str__(self) -> str:
        return f"place {self.seq}"


class AuditSeal(models.Model):
    """A signed statement about all entries up to `size`. Every batch of the sealer ends in one."""

    class Reach(models.TextChoices):
        """What the batch left open, which says where the next one goes on."""

        COMPLETE = "complete"
        PARTIAL = "partial"
        ADOPTING = "adopting", "Adopting entries of another cluster"

    number = models.BigIntegerField(primary_key=True, help_text="From 1, without gaps.")
    size = models.BigIntegerField(help_text="How many entries are sealed, this batch included.")
    reach = models.CharField(max_length=8, choices=Reach)
    sealed_at = models.DateTimeField(help_text="By the clock of the database.")
    root = models.BinaryField(help_text="RFC 6962 root of all leaves.")
    chain = models.BinaryField(help_text="The chain at the last leaf.")
    key = models.BinaryField(help_text="The Ed25519 public key that it is signed with.")
    signature = models.BinaryField()
    frontier = models.BinaryField(help_text="What it takes to go on with the tree; its root is `root`.")
    cluster = models.CharField(max_length=20, help_text="The database cluster whose transaction ids are meant below.")
    after_xid = Xid8Field(help_text="Entries of earlier transactions are sealed; so are those of it up to `after_id`.")
    after_id = models.BigIntegerField()

    class Meta:
        indexes = [models.Index(fields=["size"], name="seal_size")]

    def __str__(self) -> str:
        return f"seal {self.number} of {self.size} entries"
