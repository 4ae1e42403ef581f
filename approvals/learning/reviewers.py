"""How people review: how soon they look, how long they read, how often they agree, what of the planted they catch.

Figures about people are for those who answer for the team, and for each person about themselves. None of them decides
anything: a signal is a reason to talk to somebody.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.utils import timezone

from agents.contracts import Json
from agents.models import Permission, User
from approvals.learning import criteria, labels
from approvals.learning.criteria import Reviewing
from approvals.learning.statistics import Share

REVIEWED = """
-- What people decided, in the teams that are overseen and by oneself: how soon they looked, how long they took.
SELECT u.username, u.name, count(*), count(*) FILTER (WHERE d.answer = 'approve'),
    percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM l.at - a.requested_at))::float8,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM d.at - l.at))::float8,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY d.seconds), count(*) FILTER (WHERE l.at IS NULL),
    count(p.tells), count(p.tells) FILTER (WHERE d.answer IN ('edit', 'reject')),
    count(DISTINCT (d.at AT TIME ZONE 'UTC')::date),
    (SELECT count(*) FROM approvals_approval c WHERE c.claimed_by_id = u.id AND c.state = 'open'
        AND c.claimed_until > now())
FROM approvals_decision d
    JOIN agents_user u ON u.id = d.by_id
    JOIN approvals_approval a ON a.id = d.approval_id
    LEFT JOIN approvals_look l ON l.approval_id = d.approval_id AND l.by_id = d.by_id
    LEFT JOIN LATERAL (  -- what was rejected together with others says nothing about whoever did it
        SELECT true AS tells FROM approvals_plant p WHERE p.approval_id = d.approval_id
            AND p.revealed_at IS NOT NULL AND (p.caught IS NOT NULL OR a.state <> 'rejected')) p ON true
WHERE d.at >= %(since)s AND d.id >= %(floor)s
    AND (d.by_id = %(me)s OR %(everywhere)s OR a.team_id = ANY(%(teams)s::uuid[]))
GROUP BY u.id ORDER BY u.username
"""


@dataclass(frozen=True, slots=True)
class Reviewer:
    """One person's decisions: medians in seconds, None where nothing was opened. `unseen` were decided without opening
    them here; `planted` are those they caught, of those they were given; `claimed` is what they hold now."""

    username: str
    name: str
    decided: int
    approved: int
    first_look_s: float | None
    read_s: float | None
    decide_s: float | None
    unseen: int
    planted: Share
    days: int
    claimed: int

    @property
    def approves(self) -> float:
        """The share approved as it stood."""
        return self.approved / self.decided if self.decided else 0.0

    @property
    def per_day(self) -> float:
        """Decisions on a day on which there were any."""
        return self.decided / self.days if self.days else 0.0

    @property
    def is_hasty(self) -> bool:
        """Whether they may be agreeing without reading."""
        return hasty(self, criteria.current().reviewers)


def hasty(one: Reviewer, wanted: Reviewing) -> bool:
    """The rubber-stamp signal: enough decisions, nearly all of them approvals, the median read in next to no time. What
    was never opened here cannot be said to have been read quickly. A pure function."""
    if one.decided < wanted.enough or one.read_s is None:
        return False
    return one.approves >= wanted.approves and one.read_s < wanted.hasty_s


def of(user: User, *, since: datetime | None = None) -> Sequence[Reviewer]:
    """Everybody in the teams whose reviewers this person oversees, and always themselves."""
    since = since or timezone.now() - timedelta(days=criteria.current().reviewers.days)
    everywhere, teams = user.places(Permission.OVERSEE)
    given: Json = {"since": since, "floor": labels.floor(since), "me": user.pk}
    with connection.cursor() as cursor:
        cursor.execute(REVIEWED, {**given, "everywhere": everywhere, "teams": sorted(teams)})
        return [_reviewer(*row) for row in cursor.fetchall()]


def _reviewer(username: str, name: str, *figures: Any) -> Reviewer:
    decided, approved, first_look, read, decide, unseen, planted, caught, days, claimed = figures
    share = Share(caught, planted)
    return Reviewer(username, name, decided, approved, first_look, read, decide, unseen, share, days, claimed)
