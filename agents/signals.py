"""What the fleet announces: past tense, sent inside the transaction that made it true, heard only in receivers.py.

What leaves the process (a message, a web hook) waits for `transaction.on_commit(..., robust=True)`.
"""

from django.dispatch import Signal

run_ready = Signal()
"""A run became queued. `run_id: UUID, queue: str`; heard by whoever hands it to a worker."""

run_changed = Signal()
"""A run moved or was asked to. `run_id: UUID, agent_id: UUID, state: str` (state as it is now)."""

runs_woken = Signal()
"""Runs that waited became queued together; takes the place of `run_ready` and `run_changed` for each. `runs: Mapping[
UUID, UUID]` (the agent of each), `queue: str`."""

run_progressed = Signal()
"""A run stored a step; many a second. `run_id: UUID`. Receivers must cost microseconds."""

step_held = Signal()
"""A gate holds a step. `action: contracts.Action, verdict: contracts.Verdict`; the answer comes by
`runs.holds.answer`."""

step_doubted = Signal()
"""Nobody knows whether an act happened, or an act could not be taken back. `action: contracts.Action, reason: str`; the
answer comes by `runs.holds.answer`."""

step_closed = Signal()
"""A held or doubted step no longer needs an answer. `run_id: UUID, seq: int, reason: str`."""

call_billed = Signal()
"""A model call was made and may be charged. `call: contracts.BilledCall`, in the transaction that stores the
outcome."""

account_changed = Signal()
"""An account, team or key was made or ended, a factor shown. `verb: str, about: Model, by: User | None, reason: str,
detail: Json`, and `outcome: str` where it was not done."""

agent_changed = Signal()
"""An agent was published, frozen or thawed. `agent_id: UUID`."""

act_performed = Signal()
"""A gated act closed. `run_id: UUID, seq: int, state: str` (done, failed, in_doubt, cancelled), with its outcome."""

breaker_changed = Signal()
"""A circuit breaker moved. `key: str, state: str, reason: str, at: datetime`; its entry in the audit log is in the same
transaction."""

audit_sealed = Signal()
"""Entries of the audit log were sealed. `size: int`, how many are now."""
