"""Doing what was planned and allowed: asking a model, using a tool. No transaction is open while the outside world
works."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from uuid import UUID

from agents import errors
from agents.cancellation import Cancellation
from agents.contracts import (
    AskModel,
    BilledCall,
    Finish,
    Json,
    ModelAttempt,
    ModelReply,
    ModelRequest,
    Price,
    Recorded,
    Usage,
    UseTool,
)
from agents.llm import breakers, estimates, gateway
from agents.models import Agent, Step, Team
from agents.registry.chains import CACHED
from agents.runs import delegating, fallbacks, gates, handing, postponing, retrying, steps
from agents.runs.lease import Claim
from agents.runs.steps import Planned, Result
from agents.tools import invocation
from agents.tools.catalogue import ToolSpec
from agents.tools.context import ToolContext

UNCLEAR = frozenset({"timeout", "cancelled", "connection", "result"})
"""Ways to fail after which the other side may have acted: no answer came, or one that cannot be kept."""
UNTRIED = frozenset({retrying.CAPACITY, "breaker_open", "not_cached"})
"""Refusals of our own: nobody outside was asked, so they are no try."""
GATEWAY_ATTEMPTS = 100  # calls of one step attempt are booked under numbers of their own, this far apart


Foresee = Callable[[Planned, Result], Finish | None]
"""Asks a program for its last word, should the step that was just taken be its last."""


def goes_on(step: Planned, result: Result) -> None:
    """Whatever came of the step, it is not the end."""


def perform(claim: Claim, step: Planned, cancellation: Cancellation, foresee: Foresee = goes_on) -> None:
    """Take one step that every gate let through, and store what became of it."""
    if step.action.kind == "delegate":
        delegating.begin(claim, step)
    elif step.ask.recorded:
        perform_recorded(claim, step, step.ask.recorded)
    elif isinstance(step.ask, AskModel):
        perform_model(claim, step, step.ask, cancellation)
    elif step.action.writes or step.stored:
        perform_write(claim, step, cancellation)
    else:
        perform_read(claim, step, use(claim, step, cancellation), foresee)


def perform_read(claim: Claim, step: Planned, result: Result, foresee: Foresee) -> None:
    """What was read is one checkpoint; only what is to be read again needs a place before that."""
    if due := retrying.due(claim, step, result):
        postponing.postpone(claim, step, result, due)
    else:
        result = with_last_word(claim, step, result)
        steps.checkpoint(claim, step, result, last=foresee(step, result))


def with_last_word(claim: Claim, step: Planned, result: Result) -> Result:
    """What came of a step; of a failure that might have passed also why nobody tries again."""
    why = retrying.given_up(claim, step, result)
    if not why:
        return result
    end = "" if result.error.rstrip().endswith((".", "!", "?")) else "."
    return replace(result, error=f"{result.error.rstrip()}{end} {why}")


def perform_write(claim: Claim, step: Planned, cancellation: Cancellation) -> None:
    """Intent, act, outcome. An idempotent tool whose answer got lost is asked again with the same key."""
    if not steps.intend(claim, step):
        return
    result = use(claim, step, cancellation)
    if is_unclear(result):
        is_safe = step.spec is not None and step.spec.idempotent and not cancellation.is_set
        result = replace(result, passing=is_safe or not step.action.writes)
    conclude(claim, step, result)


def conclude(claim: Claim, step: Planned, result: Result) -> None:
    """Store what became of an intended step: the outcome, when it is tried again, that a person is asked instead, or
    that nobody knows."""
    if result.error_class == handing.PERSON and step.action.kind == "model":
        handing.hand_over(claim, step, result)
        return
    if due := retrying.due(claim, step, result):
        postponing.postpone(claim, step, result, due)
        return
    result = with_last_word(claim, step, result)
    is_left_standing = step.compensates is not None and result.state == "failed"  # nothing is skipped in silence
    if is_left_standing or (is_unclear(result) and step.action.writes):
        result = replace(result, state="in_doubt")
    steps.outcome(claim, step, result)


def leave_if_stopped(error: errors.OutsideError, cancellation: Cancellation) -> None:
    """A call given up because this process ends has no outcome to store."""
    if cancellation.is_stop and isinstance(error, errors.Aborted):
        raise errors.Stopped from error


def is_unclear(result: Result) -> bool:
    """Whether the other side may have acted though we have no answer."""
    return result.state == "failed" and result.error_class in UNCLEAR


def use(claim: Claim, step: Planned, cancellation: Cancellation) -> Result:
    """Call a tool, unless its breaker is open; a failure is data for the program, not an exception."""
    assert step.spec is not None
    started = steps.now()
    try:
        with watching(step.spec, claim.environment):
            output = invocation.invoke(step.spec, step.action.arguments, in_context(claim, step, cancellation))
    except errors.OutsideError as error:
        leave_if_stopped(error, cancellation)
        return failed(error, started)
    return Result("done", output, started_at=started)


@contextmanager
def watching(spec: ToolSpec, environment: str) -> Iterator[None]:
    """Inside the breaker of a tool: what fails in passing counts against it, any other end is an answer. Computation
    that nothing can delay needs none, nor does what only pretends to act."""
    if spec.timeout is None or (spec.writes and environment == Agent.Environment.SANDBOX):
        yield
        return
    permit = breakers.admit_now(breakers.TOOL + spec.name, patience=spec.timeout.total_seconds())
    failure: errors.OutsideError | None = None
    try:
        yield
    except errors.Aborted as error:
        failure = error
        raise
    except errors.OutsideError as error:
        if not error.permanent:
            failure = errors.OutsideError(str(error), kind="server", permanent=False, retry_after=error.retry_after)
        raise
    finally:
        breakers.report_now(permit, failure)


def in_context(claim: Claim, step: Planned, cancellation: Cancellation) -> ToolContext:
    """For whom and why a tool is used right now."""
    return ToolContext(
        run_id=claim.run_id,
        seq=step.seq,
        attempt=step.attempt,
        idempotency_key=step.key,
        environment=claim.environment,
        agent=claim.agent,
        team_id=claim.team_id,
        seed=claim.run_id.int & 0x7FFFFFFF,
        cancellation=cancellation,
    )


def failed(error: errors.OutsideError, started: datetime) -> Result:
    """A failure of the outside world as the step keeps it."""
    return Result(
        "cancelled" if isinstance(error, errors.Aborted) else "failed",
        error_class=error.kind,
        error=str(error),
        started_at=started,
        passing=not error.permanent,
        is_try=any(kind not in UNTRIED for kind in [one.kind for one in error.attempts] or [error.kind]),
        retry_after=error.retry_after,
    )


def perform_model(claim: Claim, step: Planned, ask: AskModel, cancellation: Cancellation) -> None:
    """Intent (where a gate may reserve money), the call, and the outcome with everything that was billed."""
    if not steps.intend(claim, step):
        return
    request = ModelRequest(
        chain=claim.release.bundle.get("models", []),
        messages=ask.messages,
        tools=[offer(claim.release.bundle, name) for name in ask.tools],
        settings=ask.settings,
        seed=claim.run_id.int & 0x7FFFFFFF,
        idempotency_key=step.key,
        timeout=float(claim.release.bundle.get("limits", {}).get("model_timeout_s", 60)),
        attempt=step.attempt,
        agent=claim.agent,
        team=team_slug(claim.team_id),
        concurrency=claim.release.limits.get("concurrency", 0),
        degraded=claim.release.bundle.get("degraded", {}),
    )
    started = steps.now()
    try:
        reply = gateway.ask(request, cancellation)
    except errors.OutsideError as error:
        leave_if_stopped(error, cancellation)
        calls = failed_calls(claim, step, error.attempts)
        usage, price = total(calls)
        output = {"attempts": fallbacks.kept(error.attempts, placed(calls))} if error.attempts else None
        failure = replace(failed(error, started), output=output, usage=usage, price=price, calls=calls)
        conclude(claim, step, failure)
        return
    steps.outcome(claim, step, answered(claim, step, reply, started))


@lru_cache(maxsize=1024)
def team_slug(team_id: UUID) -> str:
    """What a team is called where limits are written, asked for once per process."""
    with steps.database():
        slug: str = Team.objects.values_list("slug", flat=True).get(pk=team_id)
    return slug


def answered(claim: Claim, step: Planned, reply: ModelReply, started: datetime) -> Result:
    """A model's reply as the step keeps it: the message, what it said of its confidence, the attempts it took."""
    before = failed_calls(claim, step, reply.attempts)
    price = gates.pricer()(reply.provider, reply.model, reply.usage, started)
    number = (step.attempt - 1) * GATEWAY_ATTEMPTS + GATEWAY_ATTEMPTS
    call = billed(claim, step, number, reply.provider, reply.model, reply.usage, price, started)
    calls = before if price.kind == CACHED else (*before, call)
    output = {
        "message": reply.message,
        "confidences": [(said.value, said.source.value) for said in reply.confidences],
        "response_model": reply.response_model,
        "attempts": fallbacks.kept(reply.attempts, placed(before)),
        **({"degraded": reply.degraded} if reply.degraded else {}),
    }
    return Result(
        "done",
        output,
        usage=reply.usage,
        price=price,
        provider=reply.provider,
        model=reply.model,
        started_at=started,
        calls=calls,
    )


def failed_calls(claim: Claim, step: Planned, attempts: Sequence[ModelAttempt]) -> tuple[BilledCall, ...]:
    """The attempts that failed but may be charged for, priced from their estimated usage."""
    calls = []
    for index, attempt in enumerate(attempts):
        if attempt.usage is None or not attempt.error:
            continue
        price = gates.pricer()(attempt.provider, attempt.model, attempt.usage, attempt.started_at)
        number = (step.attempt - 1) * GATEWAY_ATTEMPTS + index + 1
        at = attempt.started_at
        calls.append(billed(claim, step, number, attempt.provider, attempt.model, attempt.usage, price, at))
    return tuple(calls)


def placed(calls: Sequence[BilledCall]) -> Iterator[tuple[int, BilledCall]]:
    """Failed attempts that were booked, each with its place among all of its question."""
    return ((call.attempt % GATEWAY_ATTEMPTS - 1, call) for call in calls)


def total(calls: tuple[BilledCall, ...]) -> tuple[Usage, Price | None]:
    """Tokens and money of calls that failed, for the step that made them."""
    if not calls:
        return Usage(), None
    known = [call.price.amount for call in calls if call.price.amount is not None]
    usage = Usage(
        input=sum(call.usage.input or 0 for call in calls),
        output=sum(call.usage.output or 0 for call in calls),
        estimated=True,
    )
    return usage, Price(sum(known[1:], known[0]) if known else None, "estimated" if known else "unpriced")


def bill_lost(claim: Claim, step: Planned) -> None:
    """A driver died while a model worked: that call may be charged for, so it is booked as estimated before another
    one."""
    assert isinstance(step.ask, AskModel)
    asked = Step.objects.filter(run_id=claim.run_id, seq=step.seq)  # by its intent: another model may be the first now
    provider, model = asked.values_list("provider", "model").get()
    usage = estimates.of_request(step.ask.messages)
    at = steps.now()
    price = gates.pricer()(provider, model, usage, at)
    number = (step.attempt - 1) * GATEWAY_ATTEMPTS
    steps.book_lost(claim, billed(claim, step, number, provider, model, usage, price, at))


def billed(
    claim: Claim, step: Planned, number: int, provider: str, model: str, usage: Usage, price: Price, at: datetime
) -> BilledCall:
    """One call for the ledger."""
    return BilledCall(
        run_id=claim.run_id,
        seq=step.seq,
        attempt=number,
        agent_id=claim.agent_id,
        team_id=claim.team_id,
        release_id=claim.release_id,
        use_case=claim.use_case,
        provider=provider,
        model=model,
        usage=usage,
        price=price,
        at=at,
    )


def billed_whole(claim: Claim, spent: Recorded) -> BilledCall:
    """What is only known of the run as a whole, for the ledger: under seq 0, which no step has."""
    usage = spent.usage or Usage()
    return BilledCall(
        run_id=claim.run_id,
        seq=0,
        attempt=0,
        agent_id=claim.agent_id,
        team_id=claim.team_id,
        release_id=claim.release_id,
        use_case=claim.use_case,
        provider=spent.provider,
        model=spent.model,
        usage=usage,
        price=Price(spent.cost, "unpriced" if spent.cost is None else "recorded"),
        at=steps.now(),
    )


def offer(bundle: Json, name: str) -> Json:
    """A tool as a model is told of it; the schema is the one published with the release."""
    schema = bundle.get("tool_schemas", {}).get(name, {})
    return {
        "name": name,
        "description": schema.get("description", ""),
        "schema": schema.get("schema", {"type": "object"}),
        "writes": schema.get("writes", False),
    }


def perform_recorded(claim: Claim, step: Planned, recorded: Recorded) -> None:
    """Store what happened elsewhere. Writes still pass their intent, where the decision that allows them is
    verified."""
    state = "failed" if recorded.ok is False else "done"
    result = Result(
        state,
        recorded.output,
        "recorded" if state == "failed" else "",
        recorded.error,
        started_at=recorded.started_at,
        finished_at=recorded.finished_at,
    )
    if isinstance(step.ask, UseTool):
        if step.action.writes or step.stored:
            if steps.intend(claim, step):
                steps.outcome(claim, step, result)
        else:
            steps.checkpoint(claim, step, result)
        return
    usage = recorded.usage or Usage()
    price = Price(recorded.cost, "recorded" if recorded.cost is not None else "unpriced")
    at = recorded.started_at or steps.now()
    calls: tuple[BilledCall, ...] = ()
    if recorded.usage is not None or recorded.cost is not None:
        call = billed(claim, step, GATEWAY_ATTEMPTS, recorded.provider, recorded.model, usage, price, at)
        calls = (call,)
    if steps.intend(claim, step):
        steps.outcome(
            claim,
            step,
            replace(
                result,
                usage=usage,
                price=price if calls else None,
                calls=calls,
                provider=recorded.provider,
                model=recorded.model,
            ),
        )
