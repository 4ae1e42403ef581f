"""Which records outside an act is about to touch, as its tool says."""

from datetime import UTC, datetime
from uuid import UUID

from agents import errors
from agents.contracts import Action
from agents.models import Touch
from agents.tools import invocation
from agents.tools.catalogue import ToolSpec


def touched(run_id: UUID, seq: int, spec: ToolSpec | None, action: Action) -> list[Touch]:
    """The records; a repeated attempt touches the same. The tool says so itself and may look them up elsewhere: not
    inside a transaction."""
    if spec is None or not action.writes or spec.touches is None:
        return []
    until = datetime.now(UTC) + spec.undoable_for if spec.undoable_for else None
    try:
        records = invocation.touched(spec, action.arguments)
    except errors.OutsideError as error:
        raise errors.Invalid(str(error)) from error
    return [
        Touch(
            run_id=run_id,
            seq=seq,
            kind=record.kind,
            record=record.record,
            customer=record.customer,
            amount=record.amount,
            currency=record.currency,
            undoable_until=until,
        )
        for record in records
    ]
