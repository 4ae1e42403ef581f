"""The gate for agents that run elsewhere: one verb. A call is judged as a step of ours is, by the same gates; a held
one is asked again with its approval, and that is the dispatch check, which uses the approval up.

Locks in this order: the session, its run, the approval.
"""

from dataclasses import replace
from uuid import UUID

from django.db import IntegrityError, transaction
from django.utils import timezone

from agents import errors, signals
from agents.audit import log as audit
from agents.contracts import Action, Answer, Stance, Verdict
from agents.models import Agent, Permission, Run, Step, User
from agents.registry.outside import OUTSIDE, OutsideTool
from agents.runs import elsewhere, gates
from approvals import asking, integrity
from approvals.escalation import expiring
from approvals.models import Approval
from approvals.outside import rulings, sessions, silence
from approvals.outside.calls import Call, Considered, consider
from approvals.outside.models import OutsideCall
from approvals.outside.rulings import ALLOW, DENY, HOLD, Ruling

NOT_YOURS = "There is no such approval of a call that you made for this agent."


def ask(agent: Agent, call: Call, *, by: User, request_id: UUID) -> Ruling:
    """May it? The same request id is the same call and gets the same answer. Raises `Forbidden` for an account without
    the role, `Missing` for an approval that is not its own, `Conflict` for an agent that does not run elsewhere."""
    if not by.may(Permission.GATE, agent.team_id):
        why = f"You may not ask for {agent}; that takes a token of the role agent in {agent.team}."
        audit.refuse("gate.asked", about=agent, by=by, because=why, request_id=request_id)
    if agent.release is None or agent.release.program != OUTSIDE:
        raise errors.Conflict(f"{agent} is run here and gated already; publish a release of the program {OUTSIDE}.")
    try:
        with transaction.atomic(durable=True):
            return _ask(agent, call, by, request_id)
    except IntegrityError:
        if OutsideCall.objects.filter(request_id=request_id).exists():  # its twin was faster, in another session
            with transaction.atomic():
                return _again(OutsideCall.objects.get(request_id=request_id), agent, call, by)
        raise


def _ask(agent: Agent, call: Call, by: User, request_id: UUID) -> Ruling:
    session = sessions.enter(agent, by, call.session)
    if earlier := OutsideCall.objects.select_related("approval").filter(request_id=request_id).first():
        return _again(earlier, agent, call, by)
    run: Run | None
    if call.approval is not None:
        run, ruling, says = _dispatch(agent, call, call.approval, by)
        if ruling.verdict == HOLD:
            return ruling  # nothing happened: the same call may be made again
    else:
        agent.refresh_from_db(fields=["frozen_at", "frozen_by", "frozen_reason"])
        run = sessions.run_of(session)
        if why_not := sessions.steered(run, agent):
            ruling, says = Ruling(DENY, why_not, "steering"), ""
        else:
            run = sessions.going_on(session, run, agent, call, by=by)
            ruling, says = _judge(agent, call, run)
    _note(agent, call, run, ruling, says=says, by=by, request_id=request_id)
    return ruling


def _judge(agent: Agent, call: Call, run: Run) -> tuple[Ruling, str]:
    """A call that comes for the first time."""
    considered = consider(agent, call, run=run, seq=elsewhere.next_seq(run))
    action = considered.action
    verdict = _verdict(considered)
    if verdict.stance == Stance.ALLOW:
        verdict = _admitted(action)
    if verdict.stance == Stance.DENY:
        kind = "invalid_arguments" if verdict.gate == "arguments" else "denied"
        elsewhere.keep(run, action, verdict, state=Step.State.REFUSED, context=call.context, refused_as=kind)
        return Ruling(DENY, verdict.reason, verdict.gate), action.says
    if verdict.stance == Stance.HOLD:
        assert considered.tool is not None
        elsewhere.keep(run, action, verdict, state=Step.State.HELD, context=call.context)
        approval = _held(action, verdict, considered.tool)
        return Ruling(HOLD, approval.reason, verdict.gate, approval), action.says
    elsewhere.keep(run, action, verdict, state=Step.State.DONE, context=call.context)
    return Ruling(ALLOW), action.says


def _verdict(considered: Considered) -> Verdict:
    if considered.wrong:
        return Verdict(Stance.DENY, considered.gate, considered.wrong)
    return gates.judge(considered.action)


def _admitted(action: Action) -> Verdict:
    """Let every gate verify or reserve, as before an act of ours; one that refuses denies."""
    try:
        with transaction.atomic():
            gates.admit(action)
    except errors.DomainError as error:
        return Verdict(Stance.DENY, "admission", error.message)
    return Verdict(Stance.ALLOW)


def _held(action: Action, verdict: Verdict, tool: OutsideTool) -> Approval:
    """Open the question, in the zone of its risk, with the time that people have."""
    parts = verdict.parts or (verdict,)
    said = {"zone": tool.risk.zone, "expires_minutes": tool.answer_within_minutes}
    first = replace(parts[0], detail={**said, **parts[0].detail})
    return asking.open_approval(action, replace(verdict, detail=first.detail, parts=(first, *parts[1:])))


def _dispatch(agent: Agent, call: Call, pk: UUID, by: User) -> tuple[Run, Ruling, str]:
    """A held call comes again: may it go ahead now? Uses the approval up, if it lets exactly this call through."""
    mine = Approval.objects.filter(pk=pk, agent=agent, run__queue=Run.Queue.OUTSIDE, run__started_by=by)
    known = mine.values_list("run_id", flat=True).first()
    if known is None:
        raise errors.Missing(NOT_YOURS, field="approval")
    run = elsewhere.locked(known)
    expiring.expire_overdue([pk])  # the tick may be late
    approval = Approval.objects.select_for_update(of=("self",)).select_related("run__release").get(pk=pk)
    if approval.is_open:
        return run, rulings.still_held(approval), ""
    step = Step.objects.get(run=run, seq=approval.seq)
    answer = Answer(**step.answer) if step.answer else None
    considered = consider(agent, call, run=run, seq=approval.seq, answer=answer)
    ruling = rulings.standing(approval)
    if ruling.verdict == ALLOW:
        ruling = _used(run, approval, considered, ruling)
    return run, ruling, considered.action.says


def _used(run: Run, approval: Approval, considered: Considered, ruling: Ruling) -> Ruling:
    """Compare and set: the approval is for exactly this call, still good, and from now on used."""
    action = considered.action
    why_not = sessions.steered(run, run.agent)
    verdict = Verdict(Stance.DENY, "steering", why_not) if why_not else _verdict(considered)
    if verdict.stance != Stance.DENY:
        is_lapsed = approval.state == Approval.State.EXPIRED
        verdict = _matches(approval, action, verdict) if is_lapsed else _admitted(action)
    if verdict.stance == Stance.DENY:
        return Ruling(DENY, verdict.reason, verdict.gate, approval)
    if approval.state == Approval.State.EXPIRED:
        Approval.objects.filter(pk=approval.pk).update(executed=Approval.Executed.EXECUTED)
    else:
        signals.act_performed.send(Run, run_id=run.pk, seq=approval.seq, state="done")
    elsewhere.let_through(run, approval.seq, action.arguments)
    approval.refresh_from_db(fields=["executed"])
    return ruling


def _matches(approval: Approval, action: Action, judged: Verdict) -> Verdict:
    """Nobody answered and the tool fails open: then too it is exactly what was asked, once, and the gates as they judge
    it now want no more than they did."""
    if approval.executed != Approval.Executed.NOT_YET:
        return Verdict(Stance.DENY, "approval", "This was let through already; one question is for one act.")
    if approval.digest != integrity.digest(integrity.bound(action), action.arguments):
        return Verdict(Stance.DENY, "approval", "This is not what was asked.")
    if why_not := silence.objection_of_gates(judged, action):
        return Verdict(Stance.DENY, "approval", f"{rulings.UNANSWERED}, and {why_not}.")
    return Verdict(Stance.ALLOW)


def _again(earlier: OutsideCall, agent: Agent, call: Call, by: User) -> Ruling:
    """What this request id was told before; a held call is told how it stands now."""
    if (earlier.by_id, earlier.digest) != (by.pk, call.digest(agent)):
        raise errors.Conflict("This request id was used for another call; make a new one.", field="request_id")
    verdict = OutsideCall.Verdict(earlier.verdict)
    last = earlier.approval.decisions.order_by("at").last() if earlier.approval else None
    arguments = last.arguments if last and verdict == ALLOW else None
    return Ruling(verdict, earlier.reason, earlier.gate, earlier.approval, arguments, last.outcome if last else None)


def _note(agent: Agent, call: Call, run: Run | None, ruling: Ruling, *, says: str, by: User, request_id: UUID) -> None:
    """Keep the call with what it was told, for the agent's page and the audit log."""
    OutsideCall.objects.create(
        request_id=request_id,
        agent=agent,
        by=by,
        run=run,
        approval=ruling.approval,
        tool=call.tool[:160],
        digest=call.digest(agent),
        says=says,
        verdict=ruling.verdict,
        gate=ruling.gate,
        reason=ruling.reason,
        at=timezone.now(),
    )
    links = {"run": str(run.pk)} if run else {}
    links |= {"approval": str(ruling.approval.pk)} if ruling.approval else {}
    audit.record(
        rulings.VERBS[ruling.verdict],
        about=agent,
        by=by,
        reason=ruling.reason,
        request_id=request_id,
        outcome=rulings.OUTCOMES[ruling.verdict],
        tool=call.tool[:160],
        says=says,
        **links,
    )
