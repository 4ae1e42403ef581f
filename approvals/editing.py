"""Other arguments than the agent's: checked as its own are, and judged again by every gate, for an edit is another act.

Apart from the verb because tools and gates are asked here, which may look things up elsewhere: no transaction is open.
"""

from dataclasses import replace

from agents import errors
from agents.contracts import Action, Confidence, Json, Source, Stance
from agents.models import StepPayload
from agents.registry import outside, thresholds
from agents.registry.outside import OutsideTool
from agents.runs import gates, planning
from agents.tools import catalogue, checking, invocation
from agents.tools.catalogue import ToolSpec
from agents.tools.checking import Shaped
from approvals import integrity, recorded, terms
from approvals.models import Approval
from approvals.policies import effective


def checked(approval: Approval, arguments: Json | None) -> tuple[Json, Json | None]:
    """The arguments a person wants instead, and what the digest of that act binds besides, if that is something else
    now: what its tool says that it rests on. Raises `Invalid` where they do not fit the tool, `Conflict` where a gate
    denies what they would do, or demands more for it than this question does."""
    if not isinstance(arguments, dict):
        raise errors.Invalid("`arguments` must be a JSON object with the arguments to use instead.", field="arguments")
    spec = tool_of(approval)
    if spec is None:
        return arguments, None  # of a recorded act: nothing is called with them, the replay ends there as diverged
    if isinstance(spec, OutsideTool):
        return _elsewhere(approval, spec, arguments), None
    given: Json = invocation.validate(spec, arguments)
    edited = planning.replace_said(action(approval, given, spec=spec), spec)
    _judge(approval, edited)
    return given, integrity.bound(edited) if spec.preconditions else None


def read(approval: Approval, arguments: Json) -> Json | None:
    """Arguments as their tool reads them, filled in and normalised, without asking any gate; None where they do not
    fit it."""
    spec = tool_of(approval)
    if spec is None or isinstance(spec, OutsideTool):
        return arguments
    try:
        found: Json = invocation.validate(spec, arguments)
    except errors.Invalid:
        return None
    return found


def _elsewhere(approval: Approval, spec: OutsideTool, arguments: Json) -> Json:
    """Of a call from elsewhere: nothing is filled in that its agent does not know of."""
    if wrong := checking.problems(spec, arguments):
        raise errors.Invalid(f"{spec.name}: {' '.join(wrong.values())}", field="arguments")
    _judge(approval, replace(action(approval, arguments, spec=spec), says=spec.sentence(arguments)))
    return arguments


def tool_of(approval: Approval) -> ToolSpec | OutsideTool | None:
    """The tool whose arguments these are; None where nobody here can call it, as one of a recorded run."""
    if approval.release.program == outside.OUTSIDE:
        return outside.find_known(approval.release.bundle, approval.tool)
    try:
        return catalogue.get(approval.tool)
    except errors.Missing:
        return None


def form_of(approval: Approval, asked: Json) -> Shaped:
    """The shape of the form in which its arguments are edited."""
    tool = tool_of(approval)
    if isinstance(tool, OutsideTool):
        return tool.shaped_by(asked)
    if tool is None and recorded.is_recorded(approval):
        return recorded.shape(approval, asked)
    return tool or catalogue.get(approval.tool)


def has_form(approval: Approval) -> bool:
    """Whether a person can edit its arguments on a page."""
    return recorded.is_recorded(approval) or tool_of(approval) is not None


def action(approval: Approval, arguments: Json, *, spec: ToolSpec | OutsideTool) -> Action:
    """The act of an approval with other arguments, as gates see it. Needs agent, release and what it binds."""
    return Action(
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
        writes=spec.writes,
        risk=spec.risk,
        confidence=Confidence(approval.confidence, Source(approval.confidence_source)),
        says=approval.says,
        compensates=approval.compensates,
        facts=_facts(approval),
    )


def _facts(approval: Approval) -> Json:
    """What gates knew besides when it was asked, as it is now: the threshold in force, the class of its data, and what
    an agent elsewhere told with its call."""
    bundle = effective.of_run(approval.run, approval.release.bundle)
    payload = StepPayload.objects.filter(run_id=approval.run_id, seq=approval.seq)
    told = payload.values_list("input__context", flat=True).first()
    context = {"context": told} if isinstance(told, dict) else {}
    return {"data_class": bundle.get("data_class"), **context, **thresholds.facts(bundle, approval.tool)}


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
