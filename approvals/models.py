"""The question a person is asked before an agent acts, and, from the modules of this app, every other model of it:
Django looks for them here, and so does everybody else.

`Approval` is the question, bound to one step of one run and to the digest of exactly the action that was judged;
`Decision` is the answer, written once. What was decided and whether it was then carried out are two different things.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar, Self

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from uuid_utils.compat import uuid7

from agents.models import Agent, Permission, Release, Run, Team, TeamOwnedQuerySet, User
from approvals.bulk.models import BulkDecision as BulkDecision
from approvals.bulk.models import BulkItem as BulkItem
from approvals.decision_models import Decision as Decision
from approvals.delegation_models import Delegation as Delegation
from approvals.escalation.models import ApprovalClock as ApprovalClock
from approvals.escalation.models import BusinessCalendar as BusinessCalendar
from approvals.escalation.models import Escalation as Escalation
from approvals.escalation.models import EscalationPolicy as EscalationPolicy
from approvals.escalation.models import silent_end
from approvals.learning.models import Look as Look
from approvals.learning.models import Plant as Plant
from approvals.learning.models import Proposal as Proposal
from approvals.notify.models import Endpoint as Endpoint
from approvals.notify.models import Fact as Fact
from approvals.notify.models import Notification as Notification
from approvals.notify.models import Preference as Preference
from approvals.outside.models import OutsideCall as OutsideCall
from approvals.outside.models import OutsideSession as OutsideSession
from approvals.policies.models import PolicyDifference as PolicyDifference
from approvals.policies.models import PolicySet as PolicySet
from approvals.run_grants.models import RunGrant as RunGrant
from approvals.run_grants.models import RunGrantUse as RunGrantUse
from approvals.sampling.models import SampleCount as SampleCount
from approvals.sampling.models import SampleRate as SampleRate

CLAIMED = Q(state="open", claimed_by__isnull=False)
FIT = Q(state="open", kind="act", level=1, votes_needed=1, tier__lt=4, zone__in=["green", "yellow"])  # see bulk.fitness
SLO = timedelta(minutes=15)
"""How long a question may wait before it is late. Lateness is shown; it never decides anything."""


def due_by_default() -> datetime:
    """When a question asked now is late."""
    return timezone.now() + SLO


class ApprovalQuerySet(TeamOwnedQuerySet):
    """Questions of one's teams."""

    def answerable_by(self, user: User) -> Self:
        """Questions of the teams where this user decides; who may not decide one of them is told so on its page."""
        return self.within(user, Permission.DECIDE)

    def told_to(self, user: User) -> Self:
        """Questions that this user may look at one by one: besides those of their teams, what an agent elsewhere asked
        through this account."""
        everywhere, teams = user.places(Permission.SEE)
        own = Q(run__queue=Run.Queue.OUTSIDE, run__started_by=user)
        return self if everywhere else self.filter(own | Q(team_id__in=teams))

    def open(self) -> Self:
        """Still without an answer, the one that is late first at the top."""
        return self.filter(state=Approval.State.OPEN).order_by("due_at", "id")

    def held_by(self, user: User) -> Self:
        """What this person is at work on."""
        return self.filter(state=Approval.State.OPEN, claimed_by=user, claimed_until__gt=timezone.now())

    def free_for(self, user: User) -> Self:
        """What nobody else is at work on."""
        return self.exclude(Q(claimed_until__gt=timezone.now()) & ~Q(claimed_by=user))

    def of_step(self, run_id: Any, seq: int) -> Self:
        """What was asked about one step, the latest question first."""
        return self.filter(run_id=run_id, seq=seq).order_by("-id")


class Approval(models.Model):
    """A question to a person about one step. `open → approved | edited | rejected | expired | superseded`, once."""

    class Kind(models.TextChoices):
        ACT = "act", "act"
        QUESTION = "question", "question"
        IN_DOUBT = "in_doubt", "in doubt"
        SAMPLE = "sample", "sample"

    class State(models.TextChoices):
        OPEN = "open"
        APPROVED = "approved"
        EDITED = "edited"
        REJECTED = "rejected"
        EXPIRED = "expired"
        SUPERSEDED = "superseded"

    class Executed(models.TextChoices):
        """What became of the act itself."""

        NOT_YET = "not_yet", "not yet"
        EXECUTED = "executed"
        FAILED = "failed"

    class Zone(models.TextChoices):
        """How much harm the act can do."""

        GREEN = "green"
        YELLOW = "yellow"
        RED = "red"

    HUES: ClassVar[dict[str, str]] = {
        State.OPEN: "wait",
        State.APPROVED: "ok",
        State.EDITED: "ok",
        State.REJECTED: "bad",
        State.EXPIRED: "warn",
        State.SUPERSEDED: "still",
    }
    ALLOWING: ClassVar[frozenset[str]] = frozenset({State.APPROVED, State.EDITED})
    DECIDED: ClassVar[frozenset[str]] = frozenset({State.APPROVED, State.EDITED, State.REJECTED})

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="approvals", db_index=False)
    seq = models.PositiveIntegerField()
    agent = models.ForeignKey(Agent, on_delete=models.PROTECT, related_name="approvals", db_index=False)
    release = models.ForeignKey(Release, on_delete=models.PROTECT, related_name="+", db_index=False)
    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="+", db_index=False)
    kind = models.CharField(max_length=10, choices=Kind, default=Kind.ACT)
    state = models.CharField(max_length=10, choices=State, default=State.OPEN)
    executed = models.CharField(max_length=10, choices=Executed, default=Executed.NOT_YET)

    tier = models.PositiveSmallIntegerField()
    tool = models.CharField(max_length=160)
    says = models.TextField(blank=True, help_text="The act in one plain sentence.")
    preview = models.JSONField(default=list, help_text="What would change: [{what, before, after}].")
    arguments = models.JSONField(default=dict)
    bound = models.JSONField(default=dict, help_text="What the digest binds besides the arguments.")
    digest = models.CharField(max_length=64, help_text="Of the normalised action that was judged.")
    confidence = models.FloatField(null=True)
    confidence_source = models.CharField(max_length=16, default="unknown")
    reasons = models.JSONField(default=list, help_text="Who asked for a person and why: [{gate, reason, rule?}].")
    zone = models.CharField(max_length=6, choices=Zone, default=Zone.YELLOW, db_default=Zone.YELLOW)
    level = models.PositiveSmallIntegerField(
        default=1, db_default=1, help_text="L1 to L4: what it takes to let this through."
    )
    votes_needed = models.PositiveSmallIntegerField(default=1, db_default=1, help_text="Of different people.")
    alike = models.CharField(
        max_length=64, default="", db_default="", help_text="The same for requests that can be decided together."
    )

    requested_at = models.DateTimeField(default=timezone.now)
    due_at = models.DateTimeField(default=due_by_default)
    expires_at = models.DateTimeField(null=True, help_text="From then on nothing lets this through.")
    claimed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    claimed_until = models.DateTimeField(null=True, help_text="Until when others leave it to whoever claimed it.")
    # The clock and the ladder; only approvals/escalation writes here.
    ladder = models.JSONField(null=True, help_text="Who is asked and when, as it was when the question opened.")
    rung = models.PositiveSmallIntegerField(default=0, db_default=0, help_text="Where on the ladder it stands.")
    rung_at = models.DateTimeField(null=True, help_text="Since when it stands there.")
    next_due_at = models.DateTimeField(null=True, help_text="When something happens unless somebody acts.")
    acknowledged_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    acknowledged_at = models.DateTimeField(null=True)
    stopped_at = models.DateTimeField(null=True, help_text="Since when its clock stands still.")

    decided_at = models.DateTimeField(null=True)
    closed_because = models.TextField(blank=True, help_text="Why nobody needs to answer, or why it was not done.")
    follows = models.ForeignKey(
        "self",
        null=True,
        on_delete=models.SET_NULL,
        related_name="+",
        help_text="What was asked before, about this act.",
    )
    moved = models.JSONField(null=True, help_text="Since a person let it through: what is different now, in words.")

    more: int = 0  # how many others a row of the queue stands for
    given: list[Decision]  # its decisions in their order; there only where they were looked up beforehand

    objects = ApprovalQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["run", "seq"], condition=Q(state="open"), name="approval_open_once"),
            models.CheckConstraint(
                condition=Q(state__in=["approved", "edited", "rejected"], decided_at__isnull=False)
                | Q(state="superseded")  # asked back, or let through before something moved
                | (~Q(state__in=["approved", "edited", "rejected"]) & Q(decided_at__isnull=True)),
                name="approval_decided_when",
            ),
            models.CheckConstraint(condition=Q(level__gte=1, level__lte=4), name="approval_level_known"),
            models.CheckConstraint(condition=Q(votes_needed__gte=1), name="approval_votes_some"),
            models.CheckConstraint(
                condition=Q(claimed_by__isnull=True, claimed_until__isnull=True)
                | Q(claimed_by__isnull=False, claimed_until__isnull=False),
                name="approval_claim_whole",
            ),
            models.CheckConstraint(
                condition=Q(ladder__isnull=True) | silent_end("ladder__after_last"), name="approval_never_by_silence"
            ),
        ]
        indexes = [
            models.Index(fields=["run", "seq", "-id"], name="approval_step"),
            models.Index(
                fields=["next_due_at"],
                name="approval_next",
                condition=Q(state="open", stopped_at__isnull=True, next_due_at__isnull=False),
            ),
            models.Index(
                fields=["expires_at"],
                name="approval_expiry",
                condition=Q(state="open", expires_at__isnull=False),
            ),
            models.Index(fields=["id"], name="approval_unwatched", condition=Q(state="open", ladder__isnull=True)),
            models.Index(fields=["due_at", "id"], name="approval_queue", condition=Q(state="open")),
            models.Index(fields=["team", "due_at", "id"], name="approval_team_queue", condition=Q(state="open")),
            models.Index(fields=["team", "alike", "due_at", "id"], name="approval_groups", condition=FIT),
            models.Index(fields=["claimed_by", "due_at", "id"], name="approval_claimed", condition=CLAIMED),
            models.Index(fields=["state", "-id"], name="approval_state"),
            models.Index(fields=["team", "-id"], name="approval_team"),
            models.Index(fields=["agent", "-id"], name="approval_agent"),
            models.Index(fields=["agent"], name="approval_asking", condition=Q(state="open")),
            models.Index(
                fields=["agent", "tool", "-decided_at"],
                name="approval_learned",
                condition=Q(decided_at__isnull=False),
            ),
            models.Index(
                fields=["expires_at"],
                name="approval_unused",
                condition=Q(expires_at__isnull=False, executed="not_yet", state__in=["approved", "edited"]),
            ),
            models.Index(
                fields=["-decided_at", "team"], name="approval_decided", condition=Q(decided_at__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        return self.says or self.tool

    @property
    def hue(self) -> str:
        """The colour class of this state."""
        return self.HUES[self.state]

    @property
    def is_open(self) -> bool:
        """Whether it still needs an answer."""
        return self.state == self.State.OPEN

    @property
    def held_by(self) -> User | None:
        """Who is at work on it now; a claim that ran out does not count."""
        if not self.is_open or self.claimed_until is None or self.claimed_until <= timezone.now():
            return None
        return self.claimed_by

    @property
    def has_expired(self) -> bool:
        """Whether nothing may let it through any more."""
        return self.expires_at is not None and self.expires_at <= timezone.now()

    @property
    def reason(self) -> str:
        """Why a person was asked, in one line."""
        return "; ".join(one["reason"] for one in self.reasons)

    @property
    def compensates(self) -> int | None:
        """The step that this act takes back, if it does."""
        seq: int | None = self.bound.get("compensates")
        return seq

    @property
    def is_waited_for(self) -> bool:
        """Whether a run waits for the answer; what was done already is only judged."""
        return self.kind != self.Kind.SAMPLE

    @property
    def is_manual(self) -> bool:
        """Whether a person does the act; the agent only prepared it."""
        return self.tier >= 4 and self.kind != self.Kind.QUESTION

    @property
    def answers(self) -> Sequence[Decision.Answer]:
        """What one may answer, in the order of the keys 1 to 9."""
        answer = Decision.Answer
        if self.kind == self.Kind.IN_DOUBT:
            return answer.OUTCOME, answer.ABSENT, answer.REJECT
        if self.kind == self.Kind.SAMPLE:
            return answer.APPROVE, answer.REJECT
        if self.is_manual or self.kind == self.Kind.QUESTION:
            return answer.OUTCOME, answer.REJECT
        if self.compensates is not None:  # the run is ending: no program is there to be asked
            return answer.APPROVE, answer.EDIT, answer.REJECT
        return answer.APPROVE, answer.EDIT, answer.REJECT, answer.ASK


class Solo(models.Model):
    """One person is exempt from the separation of duties, since when and why."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    reason = models.TextField()
    since = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user"], condition=Q(ended_at=None), name="solo_once")]

    def __str__(self) -> str:
        return f"Solo mode of {self.user}"
