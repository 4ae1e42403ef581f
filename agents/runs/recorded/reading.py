"""Reading recorded runs: files in, whole recordings and faults out, one line at a time.

What makes a step (an assistant's message that used the model; a tool call the agent asked for) is decided here and
nowhere else. A run is either yielded whole or reported; nothing is loaded by half.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path

from agents.runs.recorded.beside import Neighbours
from agents.runs.recorded.format import (
    ESCAPED_NUL,
    RawCall,
    RawMessage,
    RawRun,
    RawTask,
    RawUsage,
    UnreadableError,
    parse,
    unknown_fields,
    without_nul,
)
from agents.runs.recorded.lines import found, lines
from agents.runs.recorded.recording import (
    NO_OBJECTIVE,
    Call,
    Entry,
    Fault,
    ModelStep,
    Recording,
    Said,
    Severity,
    ToolStep,
    Usage,
)
from agents.runs.recorded.tally import TOKENS, tokens


def read(paths: Iterable[Path]) -> Iterator[Recording | Fault]:
    """Every recorded run under the paths (files or folders), and a fault for whatever is wrong, in file order.

    A run id that comes a second time, in whichever file, is reported and left out.
    """
    neighbours = Neighbours()
    first_seen: dict[str, str] = {}
    for file in found(paths):
        if isinstance(file, Fault):
            yield file
            continue
        for line in lines(file):
            if isinstance(line, Fault):
                yield line
            elif line[1].strip():
                yield from _run(file, *line, neighbours=neighbours, first_seen=first_seen)


def _run(
    file: Path, number: int, line: bytes, *, neighbours: Neighbours, first_seen: dict[str, str]
) -> Iterator[Recording | Fault]:
    try:
        run = parse(without_nul(line))
        if earlier := first_seen.get(run.run_id):
            raise UnreadableError(f"the run {run.run_id} was read before, from {earlier}", run.run_id)
        recording = _recording(run, file=file, line=number, neighbours=neighbours)
    except UnreadableError as error:
        yield Fault(file, number, error.reason, Severity.SKIPPED, run_id=error.run_id)
        return
    first_seen[run.run_id] = f"{file}:{number}"
    remarks = [*neighbours.missing, *_remarks(run, line, recording)]
    neighbours.missing.clear()
    yield from (Fault(file, number, remark, Severity.NOTICED, run_id=run.run_id) for remark in remarks)
    yield recording


def _recording(run: RawRun, *, file: Path, line: int, neighbours: Neighbours) -> Recording:
    task = run.task or RawTask()
    return Recording(
        file=file,
        line=line,
        run_id=run.run_id,
        dataset=run.source.dataset,
        agent=run.agent.name,
        implementation=run.agent.implementation,
        organisation=run.agent.org,
        llm_args=run.agent.llm_args,
        source=run.source.model_dump(),
        domain=run.domain,
        model=run.model,
        model_source=run.model_source,
        response_models=tuple(run.response_models or ()),
        user_simulator_model=run.user_simulator_model,
        task=task.id,
        trial=task.trial,
        objective=task.objective or NO_OBJECTIVE,
        has_objective=bool(task.objective),
        system=neighbours.system(file, run.system),
        started_at=run.started_at,
        ended_at=run.ended_at,
        duration_s=run.duration_s,
        tools=neighbours.tools(file, run),
        tool_types=neighbours.types(file, run),
        entries=tuple(_entries(run)),
        usage=_usage(run.usage),
        user_usage=_usage(run.user_usage),
        cost_usd=_dollars(run.cost.agent_usd if run.cost else None),
        user_cost_usd=_dollars(run.cost.user_simulator_usd if run.cost else None),
        outcome=run.outcome or {},
        flags=tuple(run.flags or ()),
    )


def _entries(run: RawRun) -> Iterator[Entry]:
    """Messages in their order, the agent's tool calls right after the message that asked for them.

    A tool's message that only repeats the result of an agent's call is that call's step, so it isn't told twice.
    """
    numbers = _numbers(run)
    asked = _calls_by_message(run, numbers)
    metered = any(_is_metered(message) for message in run.messages if message.role == "assistant")
    told = {call.result_message_i for call in run.tool_calls if call.requestor == "assistant"}
    for number, message in zip(numbers, run.messages, strict=True):
        calls = asked.get(number, [])
        if message.role == "assistant" and (_is_metered(message) or not metered):
            yield _model_step(number, message, calls)
        elif not (message.role == "tool" and number in told):
            yield _said(number, message, calls)
        for position, call in calls:
            if call.requestor == "assistant":
                yield _tool_step(position, call)


def _numbers(run: RawRun) -> list[int]:
    """The number each message goes by: its own `i`, or else its place."""
    numbers = [place if message.i is None else message.i for place, message in enumerate(run.messages)]
    if len(set(numbers)) < len(numbers):
        raise UnreadableError("two messages have the same number i; each needs its own", run.run_id)
    return numbers


def _calls_by_message(run: RawRun, numbers: list[int]) -> Mapping[int, list[tuple[int, RawCall]]]:
    known = set(numbers)
    calls: defaultdict[int, list[tuple[int, RawCall]]] = defaultdict(list)
    for position, call in enumerate(run.tool_calls):
        for field, number in (("message_i", call.message_i), ("result_message_i", call.result_message_i)):
            if number is not None and number not in known:
                raise UnreadableError(
                    f"tool_calls[{position}].{field} is {number} but no message has this number", run.run_id
                )
        calls[call.message_i].append((position, call))
    return calls


def _is_metered(message: RawMessage) -> bool:
    """Usage counts as recorded when at least one of its fields was written, if only as unknown."""
    return message.usage is not None and bool(message.usage.model_fields_set)


def _model_step(number: int, message: RawMessage, calls: list[tuple[int, RawCall]]) -> ModelStep:
    return ModelStep(
        message=number,
        content=message.content,
        reasoning=message.reasoning,
        calls=tuple(_call(call) for _, call in calls),
        at=message.timestamp,
        model=message.model,
        finish_reason=message.finish_reason,
        response_id=message.response_id,
        usage=_usage(message.usage),
        cost_usd=_dollars(message.cost_usd),
    )


def _said(number: int, message: RawMessage, calls: list[tuple[int, RawCall]]) -> Said:
    return Said(
        message=number,
        role=message.role,
        content=message.content,
        at=message.timestamp,
        reasoning=message.reasoning,
        calls=tuple(_call(call) for _, call in calls),
        answers=message.tool_call_id,
        usage=_usage(message.usage),
        cost_usd=_dollars(message.cost_usd),
    )


def _tool_step(position: int, call: RawCall) -> ToolStep:
    return ToolStep(
        position=position,
        message=call.message_i,
        call=_call(call),
        result=call.result,
        has_result=call.result is not None or call.result_message_i is not None,
        ok=call.ok,
        ok_basis=call.ok_basis,
        requested_at=call.requested_at,
        result_at=call.result_at,
        execution_time_s=call.execution_time_s,
    )


def _call(call: RawCall) -> Call:
    """Arguments are a JSON object or malformed; what the source could not parse wins over what it made of it."""
    if call.args_raw is None and isinstance(call.args, dict):
        return Call(id=call.id, name=call.name, arguments=call.args)
    raw = json.dumps(call.args, ensure_ascii=False) if call.args_raw is None else call.args_raw
    return Call(id=call.id, name=call.name, arguments=None, raw=raw)


def _usage(usage: RawUsage | None) -> Usage | None:
    if usage is None or not usage.model_fields_set:
        return None
    return Usage(**{field: getattr(usage, field) for field in RawUsage.model_fields})


def _dollars(amount: float | None) -> Decimal | None:
    """Through the shortest text that reads back as the same float, which is what the file says."""
    return None if amount is None else Decimal(repr(amount))


def _remarks(run: RawRun, line: bytes, recording: Recording) -> Iterator[str]:
    if unknown := sorted(set(unknown_fields(run))):
        yield f"fields that are not part of agent-run/1 were left aside: {', '.join(unknown)}"
    if ESCAPED_NUL.search(line):
        yield "NUL characters, which no database text can hold, were replaced by U+FFFD"
    named = sum(len(message.tool_call_ids or ()) for message in run.messages)
    if named != len(run.tool_calls):
        yield f"the messages name {named} tool calls but {len(run.tool_calls)} are recorded"
    usages = [step.usage for step in recording.model_steps if step.usage]
    if recording.usage and usages:
        summed = tokens(usages)
        off = [name for name in TOKENS if getattr(recording.usage, name) != summed[name]]
        if off:
            yield f"the run's recorded totals differ from the sum of its messages: {', '.join(off)}"
