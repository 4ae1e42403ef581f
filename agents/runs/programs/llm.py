"""The tool loop: ask the model, use the tools it asks for, tell it what they said, until it answers without a tool."""

from collections.abc import Iterator, Sequence
from typing import Any

from agents.contracts import AskModel, Assignment, Confidence, Event, Finish, Json, Source, Turn, UseTool


class ToolLoop:
    """`bundle.prompts.system` opens the conversation, the objective follows; refusals come back to the model as
    data."""

    def next(self, assignment: Assignment, history: Sequence[Event]) -> Turn:
        """One model request, or the tools the last one asked for, or the end."""
        if not history:
            return [self._ask(assignment, history)]
        last = [event for event in history if event.turn == history[-1].turn]
        if last[0].kind != "model":
            return [self._ask(assignment, history)]
        if last[0].state != "done":
            return [Finish(failure="model", detail=last[0].error or "The model did not answer.")]
        calls = list(tool_calls(last[0].output))
        return calls or [Finish(result=text_of(last[0].output["message"]))]

    def _ask(self, assignment: Assignment, history: Sequence[Event]) -> AskModel:
        messages = list(conversation(assignment, history))
        replies = [index for index, message in enumerate(messages) if message["role"] == "assistant"]
        bundle = assignment.bundle
        settings = {**bundle.get("settings", {})}
        if "simulated" in bundle:
            settings["simulated"] = bundle["simulated"]
        return AskModel(
            messages=messages,
            known=replies[-1] + 1 if replies else 0,
            tools=[*bundle.get("tools", ()), *(f"delegate.{slug}" for slug in bundle.get("delegates") or ())],
            settings=settings,
        )


def conversation(assignment: Assignment, history: Sequence[Event]) -> Iterator[Json]:
    """The whole conversation as OpenTelemetry messages; every call is closed by a response, refused ones too."""
    if system := assignment.bundle.get("prompts", {}).get("system"):
        yield {"role": "system", "parts": [{"type": "text", "content": system}]}
    objective = assignment.objective
    if assignment.input:
        objective += "\n\n" + "\n".join(f"{key}: {value}" for key, value in assignment.input.items())
    yield {"role": "user", "parts": [{"type": "text", "content": objective}]}
    for event in history:
        if event.kind == "model" and event.state == "done":
            yield event.output["message"]
        elif event.kind in {"tool", "delegate"}:
            part = {"type": "tool_call_response", "id": event.call_id, "name": event.name, "response": said(event)}
            yield {"role": "tool", "parts": [part]}


def said(event: Event) -> Any:
    """What a tool step tells the model: its result, or why there is none."""
    if event.state == "done":
        return event.output
    return {"error": event.error or f"The call was {event.state.replace('_', ' ')}.", "state": event.state}


def text_of(message: Json) -> str:
    """The text parts of a message, joined."""
    parts = message.get("parts", ())
    return "\n".join(part["content"] for part in parts if part.get("type") == "text" and part.get("content"))


def tool_calls(output: Json) -> Iterator[UseTool]:
    """The calls a model reply asks for, each with the confidence the model gave it."""
    confidences = iter(output.get("confidences", ()))
    for part in output["message"].get("parts", ()):
        if part.get("type") != "tool_call":
            continue
        value, source = next(confidences, (None, Source.UNKNOWN))
        arguments = part.get("arguments")
        is_whole = isinstance(arguments, dict)
        yield UseTool(
            name=part["name"],
            arguments=arguments if is_whole else {},
            malformed="" if is_whole or arguments in (None, "") else str(arguments),
            call_id=part.get("id") or "",
            confidence=Confidence(value, Source(source)),
        )
