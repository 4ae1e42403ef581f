"""Whom a fact concerns: who must decide, whom it was escalated to, for whom it was decided, who follows their teams.

Worked out for a batch of facts at once: every team's people and endpoints are asked for once however many facts it has.
"""

from collections.abc import Iterable
from uuid import UUID

from django.db.models import Q, QuerySet

from agents.models import Permission, User
from agents.people.models import GRANTS
from approvals import duties, solo
from approvals.models import Approval
from approvals.notify.models import Endpoint, Fact, Preference


class Audience:
    """People and endpoints by team, each looked up when it is needed first."""

    def __init__(self) -> None:
        self._deciders: dict[UUID, list[User]] = {}
        self._followers: dict[UUID, list[User]] = {}
        self._endpoints: dict[UUID, list[Endpoint]] = {}
        self._starters: dict[UUID, list[User]] = {}
        self._alone = frozenset(one.user_id for one in solo.in_force())

    def deciders(self, approval: Approval) -> list[User]:
        """Who may decide, without those who started the run or own the agent."""
        return self._apart_from_own(self._deciders_of(approval.team_id), approval)

    def targets(self, fact: Fact) -> list[User]:
        """Whom an escalation goes to; a team stands for those who decide in it. Who may not see where it was asked is
        told nothing: a ladder may name whoever has left since."""
        at = fact.approval.team_id
        named = list(_holding(Permission.SEE, at).filter(pk__in=fact.people)) if fact.people else []
        teams = [UUID(team) for team in fact.teams] or ([] if fact.people else [at])
        theirs = [one for team in teams for one in self._deciders_of(team) if team == at or one.may(Permission.SEE, at)]
        everybody = {one.pk: one for one in [*named, *theirs]}
        return self._apart_from_own(everybody.values(), fact.approval)

    def concerned(self, approval: Approval) -> list[User]:
        """For whom it was decided: who started the run, or the one that delegated it; of a service account whoever
        stands behind it."""
        starters = self._starters_of(approval)
        people = [one.owner if one.kind == User.Kind.SERVICE else one for one in starters]
        there = [one for one in people if one and one.is_active and one.kind == User.Kind.PERSON]
        return list({person.pk: person for person in there}.values())

    def followers(self, approval: Approval) -> list[User]:
        """Who wants to read at once whatever happens in this team."""
        team = approval.team_id
        if team not in self._followers:
            found = _holding(Permission.SEE, team).filter(notified__rest=Preference.When.AT_ONCE)
            self._followers[team] = list(found)
        return self._followers[team]

    def endpoints(self, teams: Iterable[UUID]) -> list[Endpoint]:
        """Where these teams want to hear, but for what is switched off."""
        return [one for team in dict.fromkeys(teams) for one in self._endpoints_of(team)]

    def _starters_of(self, approval: Approval) -> list[User]:
        run = approval.run
        if run.pk not in self._starters:
            self._starters[run.pk] = [one.started_by for one in duties.line(run) if one.started_by]
        return self._starters[run.pk]

    def _apart_from_own(self, people: Iterable[User], approval: Approval) -> list[User]:
        """Whoever may not decide because it is theirs need not be asked; in solo mode they may."""
        own = [*self._starters_of(approval), *filter(None, [approval.agent.owner])]
        hands = frozenset().union(*(one.hands for one in own))
        return [one for one in people if one.pk in self._alone or not one.hands & hands]

    def _deciders_of(self, team: UUID) -> list[User]:
        if team not in self._deciders:
            self._deciders[team] = list(_holding(Permission.DECIDE, team))
        return self._deciders[team]

    def _endpoints_of(self, team: UUID) -> list[Endpoint]:
        if team not in self._endpoints:
            standing = Endpoint.objects.standing().filter(team=team, off_at__isnull=True)
            self._endpoints[team] = list(standing.select_related("team"))
        return self._endpoints[team]


def _people() -> QuerySet[User]:
    return User.objects.filter(is_active=True, kind=User.Kind.PERSON).select_related("notified")


def _holding(permission: Permission, team: UUID) -> QuerySet[User]:
    where = Q(memberships__team=team) | Q(memberships__team__isnull=True)
    return _people().filter(where, memberships__role__in=GRANTS[permission]).distinct()
