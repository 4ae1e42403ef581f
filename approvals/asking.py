"""Opening and closing questions: what the engine's announcements mean for this app."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Q
from django.utils import timezone
from django.utils.text import Truncator

from agents.audit import log as audit
from agents.contracts import Action, Verdict
from agents.models import Run
from agents.tools.people import ASK_PERSON
from approvals import integrity, signals, terms
from approvals.escalation import opening
from approvals.models import Approval, Decision
from approvals.terms import Terms

LONGEST_TITLE = 200
DOUBT = "The worker stopped between the intent and the answer; nobody knows whether this happened."


def open_approval(action: Action, verdict: Verdict) -> Approval:
    """Ask a person before an act, or what the agent wants to know. The same question again is the same row; one about
    something else replaces it."""
    is_question = action.name == ASK_PERSON
    return _open(action, Approval.Kind.QUESTION if is_question else Approval.Kind.ACT, terms.of(verdict))


def open_doubt(action: Action, reason: str = "") -> Approval:
    """Ask a person whether an act happened; of one that was to be taken back, how it goes on, for that `reason`. To do
    it again takes what it took to let it through."""
    why = DOUBT if action.compensates is None else f"Not taken back: {reason}"
    asked = Approval.objects.of_step(action.run_id, action.seq).filter(state__in=Approval.ALLOWING)
    return _open(action, Approval.Kind.IN_DOUBT, terms.again(why, asked.first()))


def _open(action: Action, kind: Approval.Kind, asked: Terms) -> Approval:
    facts = integrity.bound(action)
    digest = integrity.digest(facts, action.arguments)
    has_asked = Approval.objects.filter(run_id=action.run_id).exists()  # most runs ask once, and what follows is wide
    current = _current(action) if has_asked else None
    if current and (current.kind, current.digest) == (kind, digest):
        return current
    if current:
        _supersede([current], "The agent asks for something else now.")
    at = timezone.now()
    before, moved = _let_through_before(action) if has_asked and kind == Approval.Kind.ACT else (None, None)
    approval = Approval.objects.create(
        run_id=action.run_id,
        seq=action.seq,
        agent_id=action.agent_id,
        release_id=action.release_id,
        team_id=action.team_id,
        kind=kind,
        tier=action.tier,
        tool=action.name,
        says=action.says or _sentence(action),
        preview=[dict(change) for change in action.preview],
        arguments=action.arguments,
        bound=facts,
        digest=digest,
        confidence=action.confidence.value,
        confidence_source=action.confidence.source.value,
        **_demands(asked, kind, at, action.team_id),
        alike=integrity.alike(action, kind, asked.level, asked.reasons),
        requested_at=at,
        follows=before,
        moved=moved,
    )
    opening.start([approval])
    audit.record("approval.requested", about=approval, by=None, reason=approval.reason, **links(approval))
    signals.approval_opened.send(Approval, **subject(approval))
    return approval


def _current(action: Action) -> Approval | None:
    """The question about this step that is open, kept so to the commit."""
    found: Approval | None = Approval.objects.of_step(action.run_id, action.seq).open().select_for_update().first()
    return found


def _sentence(action: Action) -> str:
    """What a model is asked has no sentence of its own: people know it by what its run is for."""
    if action.kind != "model":
        return ""
    objective = Run.objects.values_list("objective", flat=True).get(pk=action.run_id)
    return f"Ask {action.name} about: {Truncator(' '.join(objective.split())).chars(LONGEST_TITLE)}"


def _demands(asked: Terms, kind: Approval.Kind, at: datetime, team_id: UUID) -> dict[str, Any]:
    """What it takes, and until when: as a gate says, else in the time of its clock; what is in doubt does not expire,
    since somebody has to say what happened."""
    ends = kind != Approval.Kind.IN_DOUBT
    until = at + asked.lasts if ends and asked.lasts else None
    lasts = terms.usually() if ends and not asked.lasts else None
    demands = {"level": asked.level, "votes_needed": asked.votes, "zone": asked.zone, "expires_at": until}
    clock = opening.fields(team_id, kind=kind, level=asked.level, within=asked.within, at=at, lasts=lasts)
    return {"reasons": asked.reasons} | demands | clock


def _let_through_before(action: Action) -> tuple[Approval | None, list[str] | None]:
    """What this question follows: an approval of the same step that no longer held, which it replaces, with what has
    moved since; or a question back to the agent."""
    allowed = Approval.objects.of_step(action.run_id, action.seq).filter(_outstanding()).exclude(kind="in_doubt")
    earlier: Approval | None = allowed.select_for_update().first()
    if earlier is None:
        return _asked_before(action), None
    decision = earlier.decisions.latest("at")
    moved = list(integrity.moves(earlier, decision, action))
    _supersede([earlier], "Asked again before it was carried out. What moved: " + ("; ".join(moved) or "its content"))
    return earlier, moved


def _asked_before(action: Action) -> Approval | None:
    """The question that a person asked back when the agent last proposed the same in this run."""
    asked = Approval.objects.filter(run_id=action.run_id, seq__lt=action.seq, tool=action.name).order_by("-seq", "-id")
    last: Approval | None = asked.first()
    is_asked = last and last.decisions.filter(answer=Decision.Answer.ASK).exists()
    return last if is_asked else None


def close(run_id: UUID, seq: int, reason: str) -> None:
    """Nobody needs to answer about this step any more, or what was allowed will not be carried out."""
    asked = Approval.objects.of_step(run_id, seq)
    _supersede(asked.open().select_for_update(), reason)
    asked.filter(_outstanding()).update(executed=Approval.Executed.FAILED, closed_because=reason)


def _supersede(approvals: Iterable[Approval], reason: str) -> None:
    for approval in approvals:
        approval.state, approval.closed_because = Approval.State.SUPERSEDED, reason
        approval.save(update_fields=["state", "closed_because"])
        audit.record("approval.superseded", about=approval, by=None, reason=reason, **links(approval))
        signals.approvals_closed.send(Approval, approvals=[approval])


def note_performed(run_id: UUID, seq: int, state: str) -> None:
    """Keep what became of an act that a person had allowed; of one in doubt nobody knows it yet."""
    failed = Approval.Executed.FAILED
    became = {"done": Approval.Executed.EXECUTED, "failed": failed, "refused": failed}.get(state)
    if became:
        Approval.objects.of_step(run_id, seq).filter(_outstanding()).update(executed=became)


def _outstanding() -> Q:
    """Allowed and not carried out yet."""
    return Q(state__in=Approval.ALLOWING, executed=Approval.Executed.NOT_YET)


def subject(approval: Approval) -> dict[str, Any]:
    """What a signal says of an approval."""
    return {
        "approval_id": approval.pk,
        "run_id": approval.run_id,
        "agent_id": approval.agent_id,
        "team_id": approval.team_id,
        "seq": approval.seq,
    }


def links(approval: Approval) -> dict[str, Any]:
    """What an audit entry about an approval keeps of what it is about."""
    return {"run": str(approval.run_id), "seq": approval.seq, "tool": approval.tool, "digest": approval.digest}
