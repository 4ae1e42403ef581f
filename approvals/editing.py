"""Other arguments than the agent's: checked as its own are, and judged again by every gate, for an edit is another act.

Apart from the verb because tools and gates are asked here, which may look things up elsewhere: no transaction is open.
"""

from agents import errors
from agents.contracts import Action, Confidence, Json, Source, Stance
from agents.runs import gates, planning
from agents.tools import catalogue, invocation
from approvals import integrity, terms
from approvals.models import Approval


def checked(approval: Approval, arguments: Json | None) -> tuple[Json, Json | None]:
    """The arguments a person wants instead, and what the digest of that act binds besides, if that is something else
    now: what its tool says that it rests on. Raises `Invalid` where they do not fit the tool, `Conflict` where a gate
    denies what they would do, or demands more for it than this question does."""
    if not isinstance(arguments, dict):
        raise errors.Invalid("`arguments` must be a JSON object with the arguments to use instead.", field="arguments")
    if not can_check(approval.tool):
        return arguments, None  # of a recorded act: nothing is called with them, the replay ends there as diverged
    spec = catalogue.get(approval.tool)
    given: Json = invocation.validate(spec, arguments)
    edited = planning.replace_said(action(approval, given), spec)
    _judge(approval, edited)
    return given, integrity.bound(edited) if spec.preconditions else None


def can_check(tool: str) -> bool:
    """Whether arguments of a tool can be edited: those of a recorded tool cannot, nobody here knows its schema."""
    try:
        catalogue.get(tool)
    except errors.Missing:
        return False
    return True


def action(approval: Approval, arguments: Json) -> Action:
    """The act of an approval with other arguments, as gates see it. Needs agent, release and what it binds."""
    made = Action(
        run_id=approval.run_id,
        seq=approval.seq,
        kind=approval.bound["kind"],
        name=approval.tool,
        arguments=arguments,
        agent_id=approval.agent_id,
        agent=approval.agent.slug,
        release_id=approval.release_id,
        release=approval.release.version,
        team_id=approval.team_id,
        environment=approval.bound["environment"],
        tier=approval.tier,
        writes=catalogue.get(approval.tool).writes,
        confidence=Confidence(approval.confidence, Source(approval.confidence_source)),
        says=approval.says,
        compensates=approval.compensates,
    )
    if threshold := approval.release.bundle.get("thresholds"):
        made.facts["confidence_threshold"] = threshold.get("confidence")
    return made


def _judge(approval: Approval, edited: Action) -> None:
    verdict = gates.judge(edited)
    if verdict.stance == Stance.DENY:
        raise errors.Conflict(f"Edited so, {verdict.gate} does not allow it: {verdict.reason}", field="arguments")
    if verdict.stance == Stance.HOLD and (more := _more(approval, terms.of(verdict))):
        raise errors.Conflict(
            f"Edited so, it takes more than this question asks for: {more}, because {verdict.reason} Reject it with "
            "that reason, so that the agent proposes it anew and whoever may decide it is asked.",
            field="arguments",
        )


def _more(approval: Approval, asked: terms.Terms) -> str:
    """What an act demands beyond what its question did, in words; empty when nothing."""
    demands = []
    if asked.level > approval.level:
        demands.append(f"level L{asked.level} instead of L{approval.level}")
    if asked.votes > approval.votes_needed:
        demands.append(f"{asked.votes} votes instead of {approval.votes_needed}")
    if asked.zone == Approval.Zone.RED != approval.zone:
        demands.append("the red zone")
    return " and ".join(demands)
