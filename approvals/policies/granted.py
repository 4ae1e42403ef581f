"""What people have really granted for exactly one act: the level, and how many of them."""

from dataclasses import dataclass

from django.utils import timezone

from agents.contracts import Action
from approvals import integrity
from approvals.models import Approval
from approvals.run_grants import grants


@dataclass(frozen=True, slots=True)
class Granted:
    """The level that was asked for and let through, and the votes it took."""

    level: int
    votes: int

    def lacks(self, level: int, votes: int) -> str:
        """What is missing to let something through that demands this much; empty when nothing is."""
        if self.level >= level and self.votes >= votes:
            return ""
        return f"It takes L{level}{_by(votes)}; L{self.level}{_by(self.votes)} was given."


def _by(votes: int) -> str:
    return f" by {votes} people" if votes > 1 else ""


def of(action: Action) -> Granted | None:
    """What was granted for this very act, by its digest, and is still good: neither too old nor used up. The question
    about an act in doubt asks for as much as it had."""
    if grants.use(action):
        return Granted(level=1, votes=1)  # a grant for the rest of a run is never more than that
    digest = integrity.digest(integrity.bound(action), action.arguments)
    unused = {"state__in": Approval.ALLOWING, "executed": Approval.Executed.NOT_YET}
    asked = Approval.objects.of_step(action.run_id, action.seq).filter(**unused)
    asked = asked.exclude(expires_at__lte=timezone.now())
    given = list(asked.filter(decisions__digest=digest).distinct().values_list("level", "votes_needed"))
    if not given:
        return None
    return Granted(max(level for level, _ in given), max(votes for _, votes in given))
