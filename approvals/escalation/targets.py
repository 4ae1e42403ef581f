"""Who stands behind the targets of a rung: named people, and whoever has a role in the team at that moment."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

from django.db.models import Q
from django.db.models.functions import Lower

from agents.models import Membership, User
from approvals.escalation.written import ROLE

Wanted = tuple[UUID, str]
"""A team, and one target as the policy writes it."""
Found = Mapping[Wanted, Sequence[User]]


def resolve(wanted: Iterable[tuple[UUID, Sequence[str]]]) -> Found:
    """The active people of many targets in two queries; a target that nobody answers to has none."""
    asked = {(team_id, target) for team_id, targets in wanted for target in targets}
    named = _named({target.lower() for _, target in asked if not target.startswith(ROLE)})
    members = _members(asked)
    return {
        (team_id, target): members[team_id, target] if target.startswith(ROLE) else named.get(target.lower(), [])
        for team_id, target in asked
    }


def _named(names: set[str]) -> dict[str, list[User]]:
    if not names:
        return {}
    found = User.objects.annotate(lower=Lower("username")).filter(lower__in=names, is_active=True)
    return {user.username.lower(): [user] for user in found}


def _members(asked: set[Wanted]) -> dict[Wanted, list[User]]:
    """Whoever has a role in a team or in every team. Tokens are not called: nobody is behind the screen."""
    roles = {(team_id, target.removeprefix(ROLE)) for team_id, target in asked if target.startswith(ROLE)}
    found: dict[Wanted, list[User]] = defaultdict(list)
    if not roles:
        return found
    teams, names = {team_id for team_id, _ in roles}, {role for _, role in roles}
    within = Q(team__in=teams) | Q(team=None)
    rows = Membership.objects.filter(within, role__in=names, user__is_active=True, user__kind=User.Kind.PERSON)
    for row in rows.select_related("user").order_by("user__username"):
        for team_id, role in roles:
            if row.role == role and row.team_id in (None, team_id):
                found[team_id, ROLE + role].append(row.user)
    return found


def of(found: Found, team_id: UUID, targets: Sequence[str]) -> list[User]:
    """Everybody behind several targets, once."""
    everybody = (user for target in targets for user in found[team_id, target])
    return list({user.pk: user for user in everybody}.values())


def people(team_id: UUID, targets: Sequence[str]) -> list[User]:
    """Everybody behind the targets of one rung."""
    return of(resolve([(team_id, targets)]), team_id, targets)
