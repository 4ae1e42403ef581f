"""Writing steps for a driver: checkpoint, hold, intend, outcome. Everything here is fenced and short.

A trivial step is one statement on a raw connection. Acts and priced calls are two transactions through Django, so
that gates and the ledger join them.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django.db import connection, transaction
from django.db.models import F

from agents import signals
from agents.contracts import (
    Action,
    Answer,
    AskModel,
    BilledCall,
    Confidence,
    Event,
    Finish,
    Price,
    Source,
    Usage,
    UseTool,
    Verdict,
)
from agents.models import Run, Step, Touch
from agents.runs import gates, hotpath, touching
from agents.runs.lease import Claim, Held
from agents.tools.catalogue import ToolSpec

TELL_SECONDS = 0.1
NO_USAGE = Usage()


def now() -> datetime:
    """This moment, UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Planned:
    """One ask of a turn, resolved: which step it is, what gates judge, which tool it means."""

    seq: int
    turn: int
    ask: AskModel | UseTool
    action: Action
    spec: ToolSpec | None = None
    attempt: int = 1
    stored: bool = False
    compensates: int | None = None

    @property
    def key(self) -> str:
        """The idempotency key: the same for every attempt at this step."""
        return f"{self.action.run_id}:{self.seq}"

    @property
    def given(self) -> Any:
        """What the step's payload keeps as input."""
        if isinstance(self.ask, AskModel):
            return {"messages": list(self.ask.messages[self.ask.known :]), "known": self.ask.known}
        if self.ask.malformed:
            return {"malformed": self.ask.malformed}
        return {"arguments": self.action.arguments}


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a try at a step. `passing`: another one may go better, after `retry_after` seconds if
    told. Not `is_try`: nobody was asked, for want of room or because a breaker is open."""

    state: str
    output: Any = None
    error_class: str = ""
    error: str = ""
    usage: Usage = NO_USAGE
    price: Price | None = None
    provider: str | None = None
    model: str | None = None
    confidence: Confidence | None = None
    gate: str | None = None
    gate_reason: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    calls: tuple[BilledCall, ...] = ()
    passing: bool = False
    is_try: bool = True
    retry_after: float | None = None


@contextmanager
def database() -> Iterator[None]:
    """A short transaction; afterwards the connection goes back to the pool, since what follows may take minutes."""
    try:
        with transaction.atomic():
            yield
    finally:
        if not connection.in_atomic_block:
            connection.close()


def event(step: Planned, state: str, output: Any, error: str) -> Event:
    """A step as its program sees it."""
    call_id = step.ask.call_id if isinstance(step.ask, UseTool) else ""
    return Event(step.seq, step.turn, step.action.kind, step.action.name, state, step.given, output, error, call_id)


def remember(claim: Claim, step: Planned, state: str, output: Any, error: str) -> None:
    """Keep a driver's own view of history in step with the table."""
    claim.history[step.seq] = event(step, state, output, error)
    claim.open.pop(step.seq, None)


def heed(claim: Claim, news: tuple[Any, ...]) -> None:
    """Take note of what people want, as the last write returned it."""
    claim.asked, claim.frozen, claim.tuning = news[0], news[1], news[2]


def checkpoint(claim: Claim, step: Planned, result: Result, *, last: Finish | None = None) -> None:
    """Store a step that neither acted outside nor is priced: one statement, one commit. Where the program has said its
    last word about it the run is completed in the same one, unless people want something else first."""
    finished = result.finished_at or now()
    call_id = step.ask.call_id if isinstance(step.ask, UseTool) else ""
    params: dict[str, Any] = {
        "run": claim.run_id,
        "token": claim.token,
        "seq": step.seq,
        "turn": step.turn,
        "kind": step.action.kind,
        "name": hotpath.text(step.action.name, most=160),
        "state": result.state,
        "tier": step.action.tier,
        "call_id": hotpath.text(call_id, most=120),
        "says": step.action.says,
        "started_at": result.started_at or (None if step.ask.recorded else finished),
        "finished_at": finished,
        "error_class": hotpath.text(result.error_class, most=60),
        "error": hotpath.text(result.error),
        "in_force": hotpath.to_json(in_force(claim, step)) if claim.overrides else None,
        "input": hotpath.to_json(step.given),
        "output": hotpath.to_json(result.output),
    }
    if last is None:
        news = hotpath.fenced(hotpath.one(hotpath.CHECKPOINT, params))
    else:
        params |= {"result": hotpath.to_json(last.result), "steps_done": claim.steps_done + 1, "tuned": tuned(claim)}
        news = hotpath.fenced(hotpath.one(hotpath.CHECKPOINT_LAST, params))
        claim.ended = news[-1]
    heed(claim, news)
    claim.steps_done += 1
    remember(claim, step, result.state, result.output, result.error)
    progress(claim)


def progress(claim: Claim) -> None:
    """Tell who looks at this run, at most ten times a second: nobody reads faster."""
    now_s = time.monotonic()
    if now_s >= claim.told_at + TELL_SECONDS:
        claim.told_at = now_s
        signals.run_progressed.send(Planned, run_id=claim.run_id)


def insert(
    claim: Claim, step: Planned, state: str, *, verdict: Verdict | None = None, minds: bool = False
) -> tuple[Any, ...]:
    """Write a step that is not closed yet: held or intended. One that minds is not written where people want something
    else first; whether it was is the last of what comes back. Call inside `database()`."""
    action = step.action
    chain = claim.release.bundle.get("models", []) if action.kind == "model" else []
    recorded = step.ask.recorded
    params = {
        "run": claim.run_id,
        "seq": step.seq,
        "turn": step.turn,
        "agent": claim.agent_id,
        "kind": action.kind,
        "name": hotpath.text(action.name, most=160),
        "state": state,
        "attempt": step.attempt,
        "says": action.says,
        "tier": action.tier if action.kind != "model" else None,
        "writes": action.writes,
        "call_id": hotpath.text(step.ask.call_id, most=120) if isinstance(step.ask, UseTool) else "",
        "key": step.key if action.writes else "",
        "confidence": action.confidence.value,
        "confidence_source": action.confidence.source.value,
        "gate": verdict.gate if verdict else "",
        "gate_reason": verdict.reason if verdict else "",
        "in_force": hotpath.to_json(in_force(claim, step)),
        "started_at": None if state == "held" or recorded else now(),  # a recorded step began when its source says
        "simulated": bool(chain and chain[0].get("provider") == "simulated")
        or (claim.environment == "sandbox" and action.writes),
        "provider": (recorded.provider if recorded else chain[0]["provider"] if chain else ""),
        "model": (recorded.model if recorded else chain[0]["model"] if chain else ""),
        "compensates": step.compensates,
        "input": hotpath.to_json(step.given),
    }
    known = {"token": claim.token, "tuned": tuned(claim), "knows": not minds or action.answer is not None}
    return hotpath.fenced(hotpath.within(hotpath.INTEND, params | known | {"minds": minds, "silence": hotpath.SILENCE}))


def tuned(claim: Claim) -> int:
    """Which parameters a driver goes by, for a write that minds whether they changed; none that the run can have where
    they have run out by this clock."""
    return -1 if claim.is_untuned else claim.tuned


def in_force(claim: Claim, step: Planned) -> dict[str, Any]:
    """The parameters a step runs with, for whoever asks later; those that people had changed with who changed them."""
    settings = step.ask.settings if isinstance(step.ask, AskModel) else {}
    known: dict[str, Any] = {"release": claim.release.version}
    known |= {key: value for key, value in settings.items() if key != "simulated"}
    return known | {"overrides": list(claim.overrides)} if claim.overrides else known


def hold(claim: Claim, held: list[tuple[Planned, Verdict]]) -> None:
    """Store the held steps of one turn and announce them, all or none."""
    with database():
        heed(claim, hotpath.fenced(guard(claim)))
        if claim.is_untuned:  # they are judged anew
            return
        for step, verdict in held:
            insert(claim, step, "held", verdict=verdict)
            signals.step_held.send(Planned, action=step.action, verdict=verdict)
    for step, _ in held:
        remember(claim, step, "held", None, "")
        claim.open[step.seq] = Held("held", step.attempt, None)


def intend(claim: Claim, step: Planned) -> bool:
    """Commit the intent to act; False when people want something else first, and then nothing is written."""
    touches = touching.touched(claim.run_id, step.seq, step.spec, step.action)
    with database():
        news = insert(claim, step, "intended", minds=True)
        heed(claim, news)
        if not news[-1]:
            return False
        gates.admit(step.action)  # what it raises takes the intent back
        if touches:
            Touch.objects.bulk_create(touches, ignore_conflicts=True)
    return True


def fenced(claim: Claim) -> tuple[Any, ...]:
    """The same, or the news that the run is no longer ours."""
    return hotpath.fenced(guard(claim))


def guard(claim: Claim) -> tuple[Any, ...] | None:
    """Lock the run to the end of this transaction, if it is still ours; what people want of it."""
    return hotpath.within(hotpath.GUARD, {"run": claim.run_id, "token": claim.token, "silence": hotpath.SILENCE})


def outcome(claim: Claim, step: Planned, result: Result) -> None:
    """Store what became of an intended or held step, with its tokens and money, and book every call that was billed."""
    params = told(claim, step, result) | added(claim, result)
    with database():
        news = hotpath.fenced(hotpath.within(hotpath.OUTCOME, params))
        for call in result.calls:
            signals.call_billed.send(Planned, call=call)
        if step.stored:  # nobody was asked about what was never put off
            signals.act_performed.send(Planned, run_id=claim.run_id, seq=step.seq, state=result.state)
        if result.state == "in_doubt":
            signals.step_doubted.send(Planned, action=replace(step.action, answer=None), reason=result.error)
    heed(claim, news)
    claim.steps_done = params["steps_done"]
    claim.tokens_in += params["add_in"]
    claim.tokens_out += params["add_out"]
    claim.cost += params["add_cost"]
    remember(claim, step, result.state, result.output, result.error)
    if result.state == "in_doubt":
        claim.open[step.seq] = Held("in_doubt", step.attempt, None)
    progress(claim)


def told(claim: Claim, step: Planned, result: Result) -> dict[str, Any]:
    """The columns of the step that an outcome fills."""
    usage, confidence = result.usage, result.confidence or Confidence(None, Source.UNKNOWN)
    return {
        "run": claim.run_id,
        "token": claim.token,
        "silence": hotpath.SILENCE,
        "seq": step.seq,
        "state": result.state,
        "finished_at": None if result.state == "in_doubt" else (result.finished_at or now()),
        "error_class": hotpath.text(result.error_class, most=60),
        "error": hotpath.text(result.error),
        "gate": result.gate,
        "gate_reason": result.gate_reason,
        "confidence": confidence.value,
        "confidence_source": confidence.source.value if result.confidence else None,
        "provider": result.provider,
        "model": result.model,
        "started_at": result.started_at,
        "tokens_in": usage.input,
        "tokens_out": usage.output,
        "cache_read": usage.cache_read,
        "cache_write": usage.cache_write,
        "cost": result.price.amount if result.price else None,
        "cost_kind": result.price.kind if result.price else "",
        "output": hotpath.to_json(result.output),
    }


def added(claim: Claim, result: Result) -> dict[str, Any]:
    """What an outcome adds to the totals of its run: every call that was billed counts, failed ones too."""
    return {
        "steps_done": claim.steps_done + (result.state != "in_doubt"),
        "add_in": sum(call.usage.input or 0 for call in result.calls),
        "add_out": sum(call.usage.output or 0 for call in result.calls),
        "add_cost": sum((call.price.amount or Decimal(0) for call in result.calls), Decimal(0)),
        "add_unpriced": sum(call.price.amount is None for call in result.calls),
    }


def book_lost(claim: Claim, call: BilledCall) -> None:
    """Book a call whose worker died, once: should this driver die as well, the next one has nothing left to book."""
    with database():
        book(claim, call)
        Step.objects.filter(run_id=claim.run_id, seq=call.seq).update(started_at=None)
    claim.open[call.seq].is_under_way = False


def book(claim: Claim, call: BilledCall) -> None:
    """Book a call that no outcome carries: it counts for the run and the ledger."""
    amount = call.price.amount or Decimal(0)
    with database():
        hotpath.fenced(guard(claim))
        Run.objects.filter(pk=claim.run_id).update(
            tokens_in=F("tokens_in") + (call.usage.input or 0),
            tokens_out=F("tokens_out") + (call.usage.output or 0),
            cost=F("cost") + amount,
            unpriced=F("unpriced") + int(call.price.amount is None),
        )
        signals.call_billed.send(Planned, call=call)
    claim.tokens_in += call.usage.input or 0
    claim.tokens_out += call.usage.output or 0
    claim.cost += amount


def refuse(claim: Claim, step: Planned, result: Result) -> None:
    """Store a step that was not tried, or a stored one that may not be; the program sees why."""
    with database():
        heed(claim, hotpath.fenced(guard(claim)))
        if not step.stored:
            insert(claim, step, "intended")
        outcome(claim, step, result)


def close(claim: Claim, step: Planned, answer: Answer) -> None:
    """End a held or doubted step as a person answered: refused, or done by the person's own hand."""
    if answer.kind == "outcome":
        outcome(
            claim,
            step,
            Result("done", answer.outcome, gate_reason=f"Done by {answer.by_name}. {answer.reason}".strip()),
        )
        return
    if answer.kind == "asked":
        reason = f"The reviewer asks: {answer.reason} Nothing was done; answer, and propose it again."
        outcome(claim, step, Result("refused", error_class="asked", error=reason, gate_reason=reason))
        return
    verb = {"rejected": "Rejected", "expired": "Not decided in time"}.get(answer.kind, answer.kind.capitalize())
    by = f" by {answer.by_name}" if answer.by_name else ""
    reason = f"{verb}{by}{': ' + answer.reason if answer.reason else '.'}"
    outcome(claim, step, Result("refused", error_class=answer.kind, error=reason, gate_reason=reason))
