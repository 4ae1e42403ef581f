"""What stands behind the addresses that the tests of all doors ask for."""

from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid7

from agents.models import Agent, Autonomy, Run, User
from approvals.learning.models import Proposal
from approvals.models import Approval, Decision, PolicySet, RunGrant
from tests.approvals import questions


def policies(by: User) -> int:
    """A version of the policies that nothing obeys."""
    rule, tools = '@id("open") permit(principal, action, resource);', {"tools": {}}
    PolicySet.objects.create(number=1, files={"a.cedar": rule}, cases=[], surface=tools, digest="1", published_by=by)
    return 1


def grant(run: Run, by: User) -> UUID:
    """What somebody let through for the rest of a run, with an answer to a question that is closed."""
    earlier = questions.held(run, seq=9)
    Approval.objects.filter(pk=earlier.pk).update(state=Approval.State.SUPERSEDED)
    answer = Decision.objects.create(approval=earlier, by=by, answer="approve", seconds=1, request_id=uuid7())
    facts = {"tool": earlier.tool, "gates": [], "bound": {}, "records": []}
    made: RunGrant = RunGrant.objects.create(run=run, team=run.team, decision=answer, by=by, **facts)
    return made.pk


def autonomy(till: Agent, by: User) -> dict[str, Any]:
    """What it has earned with one tool, and what is proposed with another."""
    shown = {"runs": 1, "judged": 1, "right": 1}
    earned = Autonomy.objects.create(agent=till, tool="a", was=3, tier=2, granted_by=by, request_id=uuid7())
    proposed = Proposal.objects.create(agent=till, tool="b", before=3, after=2, evidence=shown)
    return {"autonomy_id": earned.pk, "proposal_id": proposed.pk}
