"""The outside world, as real workers meet it: it does what it is asked and writes down each time it was asked.

One line per act goes to the file that WORLD_LOG names, in one write, so that no kill leaves half of it and many
processes can share it. Nothing is refused for coming twice: whether that happened is for the reader to find out.
"""

import json
import os
import time
from typing import Any

from agents.tools.catalogue import tool
from agents.tools.context import ToolContext, Touched


def _write_down(context: ToolContext, what: str, text: str) -> None:
    line = {
        "at": time.time(),
        "what": what,
        "run": str(context.run_id),
        "seq": context.seq,
        "key": context.idempotency_key,
        "text": text,
        "pid": os.getpid(),
    }
    file = os.open(os.environ["WORLD_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, json.dumps(line).encode() + b"\n")
    finally:
        os.close(file)


def _act(context: ToolContext, what: str, text: str, seconds: float) -> dict[str, Any]:
    """Half of the time passes before the act and half after it, so that a kill hits on either side."""
    time.sleep(seconds / 2)
    _write_down(context, what, text)
    time.sleep(seconds / 2)
    return {"text": text}


def _touches(text: str) -> list[Touched]:
    return [Touched("note", text)]


@tool("world.look", tier=1)
def look(text: str, seconds: float = 0.0) -> dict[str, Any]:
    """Look something up; takes a while and changes nothing."""
    time.sleep(seconds)
    return {"text": text}


@tool("world.note", tier=1, writes=True, idempotent=True, says=lambda text: f"Note “{text}”", touches=_touches)
def note(context: ToolContext, text: str, seconds: float = 0.0) -> dict[str, Any]:
    """Write a note; whoever keeps the notes knows keys."""
    return _act(context, "note", text, seconds)


@tool("world.post", tier=1, writes=True, says=lambda text: f"Post “{text}”", touches=_touches)
def post(context: ToolContext, text: str, seconds: float = 0.0) -> dict[str, Any]:
    """Post a letter; the post office does not know keys."""
    return _act(context, "post", text, seconds)


@tool("world.pay", tier=3, writes=True, idempotent=True, says=lambda text: f"Pay “{text}”", touches=_touches)
def pay(context: ToolContext, text: str, seconds: float = 0.0) -> dict[str, Any]:
    """Pay somebody, once a person has agreed."""
    return _act(context, "pay", text, seconds)


@tool(
    "world.carve",
    tier=1,
    timeout=None,
    writes=True,
    idempotent=True,
    says=lambda text: f"Carve “{text}”",
    touches=_touches,
)
def carve(context: ToolContext, text: str, seconds: float) -> dict[str, Any]:
    """Carve it in stone: the first time nobody can call the mason back, later he finds it half done."""
    return _act(context, "carve", text, seconds if context.attempt == 1 else 0.0)


@tool("world.shout", tier=1, timeout=None, writes=True, says=lambda text: f"Shout “{text}”", touches=_touches)
def shout(context: ToolContext, text: str, seconds: float) -> dict[str, Any]:
    """Shout it across the valley, which takes its time and cannot be taken back."""
    return _act(context, "shout", text, seconds)
