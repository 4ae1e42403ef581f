"""What this app announces, inside the transaction that made it true."""

from django.dispatch import Signal

approval_opened = Signal()
"""A person is asked. `approval_id, run_id, agent_id, team_id: UUID, seq: int`."""

approvals_closed = Signal()
"""Nobody needs to answer these any more: people have, nobody did in time, or nothing is asked any more; the `state` of
each says which. `approvals: Sequence[Approval]`, as they are now."""

approval_voted = Signal()
"""A person has voted, and it takes more votes. `approval_id, run_id, agent_id, team_id: UUID, seq: int, by: User`."""

approval_delegated = Signal()
"""A question was handed to a person. `approval: Approval, to: User`."""

samples_drawn = Signal()
"""People are asked about acts that have happened. `approval_ids: list[UUID]`."""

bulk_progressed = Signal()
"""One answer to many questions came further, or ended. `bulk_id: UUID`."""

approval_claimed = Signal()
"""Somebody took a question, gave it back or ran out of time. `approval_id, run_id, agent_id, team_id: UUID, seq: int`.
"""

approval_escalated = Signal()
"""Nobody reacted in time, so it goes to a level. `approval: Approval, level: int` (1 to 4), `targets: Sequence[User |
Team]` (empty: the team of the approval), `channels: Sequence[str]` (`in_app`, `email`, `webhook`, `slack`, `pagerduty`,
`opsgenie`; empty: whatever each target takes)."""

approval_turned = Signal()
"""Its clock or its ladder moved: escalated, acknowledged, paused. `approval_id, run_id, agent_id, team_id: UUID, seq:
int`."""

people_notified = Signal()
"""The list of what concerns these people has changed. `people: Iterable[UUID]`."""

endpoint_changed = Signal()
"""Something was sent to an endpoint, or it was switched on or off. `endpoint_id: UUID`."""
