"""A shop whose recorded agent reads and writes."""

from typing import Any

from tests.recordings import call, run, said, used

WRITE = "send_back"


def acting(*writes: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A recorded run that reads once and then writes, and says so."""
    calls = [call(0, name="find_parcel"), *({**call(0, name=WRITE), **write} for write in writes)]
    messages = [
        said("assistant", None, usage=used(), tool_call_ids=[each["id"] for each in calls]),
        said("assistant", "Sent back.", usage=used()),
    ]
    return run(messages=messages, tool_calls=calls, usage=None, tools_ref="domains/shop/typed/tools.json", **changes)
