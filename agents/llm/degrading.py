"""What an agent does while its first model is away: what its release says of that in `[degraded]`.

A shorter chain, fewer tools on offer, and words for the model, so that half a service is a plan and not an accident. An
agent is degraded while the breaker of its first model lets nothing through; the call that probes that model is an
ordinary one, and with its answer everything is as before.
"""

from collections.abc import Sequence
from dataclasses import replace

from agents.contracts import Json, ModelRequest
from agents.llm import breakers


async def applied(request: ModelRequest) -> tuple[ModelRequest, str]:
    """The question as it is asked now, and why not as usual; empty when it is."""
    table = request.degraded
    if not table or not request.chain:
        return request, ""
    key = breakers.of_model(request.chain[0])
    if not await breakers.sees_open(key):
        return request, ""
    remain = table.get("tools")
    changed = replace(
        request,
        chain=table.get("models") or request.chain[1:] or request.chain,
        tools=[tool for tool in request.tools if remain is None or tool["name"] in remain],
        messages=_told(request.messages, table.get("say", "")),
    )
    return changed, f"The breaker of {key} is open."


def _told(messages: Sequence[Json], say: str) -> Sequence[Json]:
    """The conversation with these words at the end of what the model was told first."""
    if not say:
        return messages
    part = {"type": "text", "content": say}
    if messages and messages[0].get("role") == "system":
        return [{**messages[0], "parts": [*messages[0]["parts"], part]}, *messages[1:]]
    return [{"role": "system", "parts": [part]}, *messages]
