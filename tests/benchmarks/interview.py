"""A conversation of a few model calls and nothing else, for benchmarks: as a program of runs, and made bare.

Both ask the same questions of the same server through the same library, so that what lies between them is the engine.
"""

import asyncio
import multiprocessing
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any
from uuid import uuid4

from agents.contracts import AskModel, Assignment, Event, Finish, Json, ModelRequest, Turn
from tests.model_server import ModelServer, says

PROGRAM = "tests.benchmarks.interview:Interview"
SAID = "That depends on the grinder, on the beans and on the water; tell me more about each of them."


class Interview:
    """Asks the model `input.questions` times, with all that was said before, and ends."""

    def next(self, assignment: Assignment, history: Sequence[Event]) -> Turn:
        """The next question."""
        if history and history[-1].state != "done":
            return [Finish(failure="model", detail=history[-1].error)]
        if len(history) == assignment.input["questions"]:
            return [Finish(result="Asked.")]
        replies = [event.output["message"] for event in history]
        return [AskModel(conversation(assignment.objective, replies), known=2 * len(replies))]


def conversation(objective: str, replies: Sequence[Json]) -> list[Json]:
    """What a model is sent after these replies."""
    messages = [_text("user", f"{objective}: How fine should I grind?")]
    for number, reply in enumerate(replies, 1):
        messages += [reply, _text("user", f"And then, after answer {number}?")]
    return messages


def _text(role: str, content: str) -> Json:
    return {"role": role, "parts": [{"type": "text", "content": content}]}


# --- bare ----------------------------------------------------------------------------------------------------------
def ask_bare(link: Json, runs: int, questions: int, barrier: Any) -> None:
    """The same calls by the same library, as many at once, and nobody remembers anything."""
    from agents.llm import providers

    providers.connected(link)  # what takes long to load is loaded before the clock runs, as in a worker at work

    async def one(number: int) -> None:
        replies: list[Json] = []
        for _ in range(questions):
            messages = conversation(f"file {number}", replies)
            request = ModelRequest([link], messages, [], {}, 1, str(uuid4()))
            replies.append((await providers.connected(link).answer(request, attempt=1)).message)

    async def every() -> None:
        await asyncio.gather(*(one(number) for number in range(runs)))

    barrier.wait()
    asyncio.run(every())


# --- the model -----------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Served:
    """What the model's server has seen: questions, and the most that waited for an answer at once."""

    questions: int
    most_at_once: int


class Model:
    """A model's server in a process of its own."""

    def __init__(self, ours: Connection) -> None:
        self._ours = ours
        self.url: str = ours.recv()

    def served(self) -> Served:
        """What it has seen since it was last asked."""
        self._ours.send("served")
        found: Served = self._ours.recv()
        return found


@contextmanager
def model(seconds: float) -> Iterator[Model]:
    """A model that takes so long for every answer."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, seconds), daemon=True)
    process.start()
    theirs.close()
    try:
        yield Model(ours)
    finally:
        with suppress(OSError):
            ours.send("end")
        process.join(10)
        if process.is_alive():
            process.kill()
        ours.close()


def _serve(pipe: Connection, seconds: float) -> None:
    with ModelServer(default=says(SAID, delay=seconds)) as server:
        pipe.send(server.url)
        with suppress(EOFError):
            while pipe.recv() == "served":
                pipe.send(Served(*server.taken()))
