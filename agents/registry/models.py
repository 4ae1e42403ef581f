"""Who works here: agents, the immutable releases they run, the tools that exist and the grants to use them."""

from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from django.utils import timezone
from uuid_utils.compat import uuid7

from agents.people.models import Team, TeamOwnedQuerySet


class Agent(models.Model):
    """Something that does work. In a sandbox its acts are simulated. A frozen agent starts no step at all."""

    class Environment(models.TextChoices):
        LIVE = "live"
        SANDBOX = "sandbox"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    slug = models.SlugField(unique=True, max_length=80)
    name = models.CharField(max_length=120)
    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="agents")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="agents")
    purpose = models.TextField(blank=True)
    use_case = models.CharField(max_length=80, blank=True)
    environment = models.CharField(max_length=8, choices=Environment, default=Environment.LIVE)
    release = models.ForeignKey("Release", null=True, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    frozen_at = models.DateTimeField(null=True)
    frozen_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    frozen_reason = models.TextField(blank=True)
    tuning = models.PositiveIntegerField(default=0, db_default=0, help_text="Rises with each change of its parameters.")

    objects = TeamOwnedQuerySet.as_manager()

    class Meta:
        ordering = ["slug"]

    def __str__(self) -> str:
        return self.slug


class ReleaseQuerySet(TeamOwnedQuerySet):
    """Releases of one's teams."""

    team_path = "agent__team_id"


class Release(models.Model):
    """An immutable bundle of prompts, tools, models and limits, named by its content's digest.

    Once published nothing but `state` changes; a trigger refuses the rest.
    """

    class State(models.TextChoices):
        DRAFT = "draft"
        SHADOW = "shadow"
        CANARY = "canary"
        LIVE = "live"
        RETIRED = "retired"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    agent = models.ForeignKey(Agent, on_delete=models.PROTECT, related_name="releases")
    version = models.CharField(max_length=40)
    digest = models.CharField(max_length=64)
    program = models.CharField(max_length=120)
    bundle = models.JSONField()
    state = models.CharField(max_length=8, choices=State, default=State.LIVE)
    published_at = models.DateTimeField(default=timezone.now)
    published_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")

    objects = ReleaseQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["agent", "version"], name="release_version_once"),
            models.UniqueConstraint(fields=["agent", "digest"], name="release_content_once"),
        ]

    def __str__(self) -> str:
        return f"{self.agent_id and self.agent.slug} {self.version}"

    @property
    def chain(self) -> list[dict[str, Any]]:
        """The model chain, first choice first."""
        chain: list[dict[str, Any]] = self.bundle.get("models", [])
        return chain

    @property
    def is_simulated(self) -> bool:
        """Whether a simulated model speaks for this release: said wherever its work is shown."""
        return any(model.get("provider") == "simulated" for model in self.chain)


class ProgramSource(models.Model):
    """What the files of a company's own program said when a run was pinned to them, named by that run's digest."""

    digest = models.CharField(primary_key=True, max_length=64)
    program = models.CharField(max_length=120)
    files = models.JSONField()
    kept_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"{self.program} {self.digest[:12]}"


class Tool(models.Model):
    """A tool as the catalogue declared it when a release that uses it was last published."""

    TIERS: ClassVar[list[tuple[int, str]]] = [(1, "full auto"), (2, "supervised"), (3, "assisted"), (4, "manual")]

    name = models.CharField(primary_key=True, max_length=120)
    description = models.TextField()
    schema = models.JSONField()
    writes = models.BooleanField()
    tier = models.PositiveSmallIntegerField(choices=TIERS)
    idempotent = models.BooleanField(default=False)
    compensation = models.CharField(max_length=120, blank=True)
    undoable_for = models.DurationField(null=True)
    timeout = models.DurationField(null=True)
    source = models.CharField(max_length=200, blank=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(tier__range=(1, 4)), name="tool_tier_1_to_4")]

    def __str__(self) -> str:
        return self.name


class ToolGrant(models.Model):
    """An agent may use a tool: since when, granted by whom, until when."""

    agent = models.ForeignKey(Agent, on_delete=models.CASCADE, related_name="grants")
    tool = models.ForeignKey(Tool, on_delete=models.PROTECT, related_name="grants")
    tier = models.PositiveSmallIntegerField(null=True, help_text="Overrides the tool's own tier for this agent.")
    granted_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    granted_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["agent", "tool"], name="grant_once")]

    def __str__(self) -> str:
        return f"{self.agent} may use {self.tool_id}"


class Autonomy(models.Model):
    """A milder tier that an agent has earned for one tool, instead of the one its release says. `was` is that one:
    where a later release says another, what was earned against this one no longer counts."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    agent = models.ForeignKey(Agent, on_delete=models.CASCADE, related_name="autonomies", db_index=False)
    tool = models.CharField(max_length=160)
    was = models.PositiveSmallIntegerField()
    tier = models.PositiveSmallIntegerField()
    granted_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    granted_at = models.DateTimeField(default=timezone.now)
    reason = models.TextField()
    request_id = models.UUIDField(unique=True)
    ended_at = models.DateTimeField(null=True)
    ended_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+")
    ended_because = models.TextField(blank=True)

    class Meta:
        indexes = [models.Index(fields=["agent", "tool", "-granted_at"], name="autonomy_agent")]
        constraints = [
            models.UniqueConstraint(
                fields=["agent", "tool"], condition=models.Q(ended_at__isnull=True), name="autonomy_once"
            ),
            models.CheckConstraint(
                condition=models.Q(tier__gte=1, tier__lt=models.F("was"), was__lte=3), name="autonomy_is_milder"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.agent} does {self.tool} at tier {self.tier}"
