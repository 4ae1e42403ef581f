"""What this app does when another announces a fact. Three lines each."""

from collections.abc import Sequence
from uuid import UUID

from django.dispatch import receiver

from agents import signals
from agents.contracts import Action, Verdict
from agents.models import Team, User
from approvals import asking
from approvals import signals as own
from approvals.escalation import acknowledging, pausing
from approvals.learning import planting
from approvals.models import Approval
from approvals.notify import facts
from approvals.notify.models import About


@receiver(signals.step_held)
def ask_a_person(sender: object, action: Action, verdict: Verdict, **_: object) -> None:
    """A gate, whichever, holds a step."""
    asking.open_approval(action, verdict)


@receiver(signals.step_doubted)
def ask_what_happened(sender: object, action: Action, reason: str = "", **_: object) -> None:
    """The engine does not know whether an act happened, or could not take one back."""
    asking.open_doubt(action, reason)


@receiver(signals.step_closed)
def stop_asking(sender: object, run_id: UUID, seq: int, reason: str, **_: object) -> None:
    """The run was cancelled or has failed, or the step was refused at the last moment."""
    asking.close(run_id, seq, reason)


@receiver(signals.act_performed)
def keep_what_became_of_it(sender: object, run_id: UUID, seq: int, state: str, **_: object) -> None:
    """An act was carried out, or failed."""
    asking.note_performed(run_id, seq, state)


@receiver(signals.run_changed)
def stop_or_start_clocks(sender: object, run_id: UUID, state: str, **_: object) -> None:
    """A run was paused or goes on."""
    pausing.follow(run_id, state)


@receiver(own.approval_opened)
def tell_that_somebody_must_decide(sender: object, approval_id: UUID, **_: object) -> None:
    """People and endpoints hear of it once it is committed."""
    facts.note(approval_id, About.OPENED)


@receiver(own.approvals_closed)
def tell_that_it_is_over(sender: object, approvals: Sequence[Approval], **_: object) -> None:
    """Decided, expired or no longer needed."""
    facts.note_closed(approvals)


@receiver(own.approval_escalated)
def tell_the_next(
    sender: object,
    approval: Approval,
    level: int,
    targets: Sequence[User | Team] = (),
    channels: Sequence[str] = (),
    **_: object,
) -> None:
    """Nobody reacted in time."""
    facts.note_escalated(approval, level=level, targets=targets, channels=channels)


@receiver(own.approval_delegated)
def tell_whom_it_is_with(sender: object, approval: Approval, to: User, **_: object) -> None:
    """Somebody was handed a question."""
    facts.note_delegated(approval, to=to)


@receiver(own.approvals_closed)
def say_which_were_planted(sender: object, approvals: Sequence[Approval], **_: object) -> None:
    """Nobody has to answer a planted request any more."""
    planting.reveal(approvals)


@receiver(own.approval_voted)
def voting_acknowledges(sender: object, approval_id: UUID, by: User, **_: object) -> None:
    """Whoever votes has reacted, though it takes others as well."""
    acknowledging.note_vote(approval_id, by=by)


@receiver(own.approval_claimed)
def claiming_acknowledges(sender: object, approval_id: UUID, **_: object) -> None:
    """Whoever claims a question has it in hand."""
    acknowledging.note_claim(approval_id)
