"""People, teams and tokens: who may see and do what. Every other queryset borrows its `visible_to` from here."""

from enum import StrEnum
from typing import Any, ClassVar, Self
from uuid import UUID
from zoneinfo import ZoneInfo

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.db import models
from django.db.models import Q
from django.utils import timezone
from uuid_utils.compat import uuid7

from agents.people.assurance import UNPROVEN, Assurance


class Permission(StrEnum):
    """What a role lets one do, in the teams where one has it."""

    SEE = "see"
    START = "start runs"
    STEER = "steer runs and agents"
    SPEND = "allow spending"
    DECIDE = "decide approvals"
    GATE = "ask the gate"
    PUBLISH = "publish releases"
    CONNECT = "connect endpoints"
    OVERSEE = "oversee reviewers"
    ADMINISTER = "administer people"


class Role(models.TextChoices):
    """One word for a set of permissions."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    REVIEWER = "reviewer"
    MANAGER = "manager"
    GOVERNANCE = "governance"
    ADMIN = "admin"
    AGENT = "agent"


GRANTS: dict[Permission, frozenset[str]] = {
    Permission.SEE: frozenset(Role.values) - {Role.AGENT},  # a program sees what it asked itself, and nothing else
    Permission.START: frozenset({Role.OPERATOR, Role.ADMIN}),
    Permission.STEER: frozenset({Role.OPERATOR, Role.GOVERNANCE, Role.ADMIN}),
    Permission.SPEND: frozenset({Role.MANAGER, Role.GOVERNANCE, Role.ADMIN}),
    Permission.DECIDE: frozenset({Role.REVIEWER, Role.ADMIN}),
    Permission.GATE: frozenset({Role.AGENT, Role.ADMIN}),
    Permission.PUBLISH: frozenset({Role.GOVERNANCE, Role.ADMIN}),
    Permission.CONNECT: frozenset({Role.GOVERNANCE, Role.ADMIN}),
    Permission.OVERSEE: frozenset({Role.MANAGER, Role.GOVERNANCE, Role.ADMIN}),
    Permission.ADMINISTER: frozenset({Role.ADMIN}),
}


class Team(models.Model):
    """A part of the organisation. Everything a person can see belongs to one."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    slug = models.SlugField(unique=True)
    name = models.CharField(max_length=120)

    def __str__(self) -> str:
        return self.name


class UserManager(BaseUserManager["User"]):
    """Makes people; names are stored as typed and looked up without regard to case."""

    def create_user(self, username: str, password: str | None = None, **fields: Any) -> "User":
        """A new account; without a password it cannot sign in."""
        user = self.model(username=username, **{"name": username, **fields})
        user.set_password(password)
        user.save(using=self._db)
        return user

    def get_by_natural_key(self, username: str | None) -> "User":
        """Sign-in ignores case: nobody remembers how their name was typed."""
        return self.get(username__iexact=username)


class User(AbstractBaseUser):
    """Someone who acts: a person, or a service account that a token speaks for (`owner` is the person behind it)."""

    class Kind(models.TextChoices):
        PERSON = "person"
        SERVICE = "service"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    username = models.CharField(max_length=80, unique=True)
    name = models.CharField(max_length=120)
    email = models.EmailField(blank=True)
    kind = models.CharField(max_length=10, choices=Kind, default=Kind.PERSON)
    owner = models.ForeignKey("self", null=True, blank=True, on_delete=models.PROTECT, related_name="services")
    zone = models.CharField(max_length=64, blank=True, help_text="IANA time zone; empty follows the browser.")
    theme = models.CharField(max_length=8, blank=True, help_text="light, dark, or empty to follow the system.")
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now)

    assurance: Assurance = UNPROVEN  # how sure we are that it is them: whoever lets a request in says so
    objects: ClassVar[UserManager] = UserManager()
    USERNAME_FIELD = "username"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        constraints = [models.UniqueConstraint(models.functions.Lower("username"), name="user_name_once")]

    def __str__(self) -> str:
        return self.username

    @property
    def tzinfo(self) -> ZoneInfo | None:
        """The zone this person reads times in, if they chose one."""
        return ZoneInfo(self.zone) if self.zone else None

    def places(self, permission: Permission) -> tuple[bool, frozenset[UUID]]:
        """Where this user has a permission: (everywhere, teams). One query per request, remembered on the object."""
        if not hasattr(self, "_memberships"):
            self._memberships = list(self.memberships.values_list("role", "team_id"))
        held = [team for role, team in self._memberships if role in GRANTS[permission]]
        return None in held, frozenset(team for team in held if team)

    def may(self, permission: Permission, team_id: UUID | None) -> bool:
        """Whether this user has a permission in a team."""
        everywhere, teams = self.places(permission)
        return self.is_active and (everywhere or team_id in teams)

    def may_somewhere(self, permission: Permission) -> bool:
        """Whether this user has a permission in any team: decides whether a page or a button is offered at all."""
        everywhere, teams = self.places(permission)
        return self.is_active and (everywhere or bool(teams))

    @property
    def speaks_for_agent(self) -> bool:
        """Whether an agent acts through this account: whatever else it may do, it decides nothing."""
        self.places(Permission.GATE)  # which looks the memberships up, once
        return any(role == Role.AGENT for role, _ in self._memberships)

    @property
    def hands(self) -> frozenset[UUID]:
        """The ids that count as one and the same decider: the account itself and whoever stands behind it."""
        return frozenset(filter(None, (self.id, self.owner_id)))


class Membership(models.Model):
    """A role that a user has in a team, or everywhere when no team is named."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    team = models.ForeignKey(Team, null=True, blank=True, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=12, choices=Role)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "team", "role"], name="membership_once", nulls_distinct=False)
        ]

    def __str__(self) -> str:
        return f"{self.user} is {self.role} in {self.team or 'every team'}"


class Token(models.Model):
    """A key to the API. Only its digest is stored; it is shown once."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="tokens")
    name = models.CharField(max_length=80)
    prefix = models.CharField(max_length=16)
    digest = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"


class TeamOwnedQuerySet(models.QuerySet[Any]):
    """Rows that belong to a team through `team_path`: the one place that decides who sees them."""

    team_path = "team_id"

    def within(self, user: User, permission: Permission) -> Self:
        """Rows of the teams where this user has a permission."""
        everywhere, teams = user.places(permission)
        return self if everywhere else self.filter(Q(**{f"{self.team_path}__in": teams}))

    def visible_to(self, user: User) -> Self:
        """Rows this user may look at; a stranger gets none."""
        return self.within(user, Permission.SEE)

    def steerable_by(self, user: User) -> Self:
        """Rows this user may pause, cancel or freeze."""
        return self.within(user, Permission.STEER)
