"""A server on the loopback that speaks the OpenAI chat protocol: says what it is told to, and notices who hangs up.

Real sockets, one thread, nothing but the standard library. For tests and benchmarks of whatever asks models.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import count
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """One request as it came. `at` is on the monotonic clock."""

    headers: dict[str, str]
    body: Json
    at: float
    path: str = ""

    @property
    def question(self) -> str:
        """The last thing that was said."""
        return str(self.body["messages"][-1]["content"])


@dataclass(frozen=True)
class Answer:
    """One answer to give: after `delay` seconds, or never when it is None. `drop` hangs up instead."""

    content: Json | bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay: float | None = 0.0
    drop: bool = False


def says(text: str, *, delay: float = 0.0, usage: Json | None = None, **message: Any) -> Answer:
    """An ordinary answer in words. `usage={}` leaves the token counts out."""
    return _completion({"role": "assistant", "content": text, **message}, "stop", delay, usage)


def calls(*wanted: tuple[str, Json | str], delay: float = 0.0, usage: Json | None = None) -> Answer:
    """An answer that calls tools: name and arguments each; arguments given as text are sent as they are."""
    tool_calls = [
        {
            "id": f"call_{number}",
            "type": "function",
            "function": {
                "name": name,
                "arguments": arguments if isinstance(arguments, str) else json.dumps(arguments),
            },
        }
        for number, (name, arguments) in enumerate(wanted)
    ]
    return _completion({"role": "assistant", "content": None, "tool_calls": tool_calls}, "tool_calls", delay, usage)


def fails(status: int, message: str = "something is wrong", *, retry_after: float | None = None) -> Answer:
    """An error as such servers word it."""
    headers = {} if retry_after is None else {"Retry-After": f"{retry_after:g}"}
    return Answer({"error": {"message": message, "type": "error", "code": None}}, status, headers)


def garbage() -> Answer:
    """Success, it says, and then something that is not JSON."""
    return Answer(b'{"id": "chatcmpl-1", "choices": [{"mess')


def silence() -> Answer:
    """Takes the question and never answers."""
    return Answer(delay=None)


def hangs_up() -> Answer:
    """Takes the question and closes the connection."""
    return Answer(drop=True)


class ModelServer:
    """Start with `with ModelServer() as server:`. Answers are given in the order of `script`, then `default` for ever;
    `answering` decides by the question instead."""

    def __init__(self, default: Answer | None = None, answering: Callable[[Asked], Answer] | None = None) -> None:
        self.asked: list[Asked] = []
        self.disconnects: list[float] = []
        self.connections = 0
        self.open_connections = 0
        self._waiting = self._most_waiting = 0
        self._script: deque[Answer] = deque()
        self._default = default or says("Good morning.")
        self._answering = answering
        self._ids = count(1)
        self._news = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="model-server", daemon=True)

    def __enter__(self) -> ModelServer:
        self._thread.start()
        starting = asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1024)
        self._server = asyncio.run_coroutine_threadsafe(starting, self._loop).result()
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def url(self) -> str:
        """The `base_url` of this server."""
        return f"http://127.0.0.1:{self.port}/v1"

    def script(self, *answers: Answer) -> None:
        """What to say to the next questions."""
        self._script.extend(answers)

    def wait(self, condition: Callable[[], bool], seconds: float = 5.0) -> bool:
        """Wait until something about this server is so; False when it never came to be."""
        with self._news:
            return self._news.wait_for(condition, seconds)

    def taken(self) -> tuple[int, int]:
        """How many questions it was asked and how many of them waited at once at most, since this was last called."""
        with self._news:
            taken = len(self.asked), self._most_waiting
            self.asked.clear()
            self._most_waiting = self._waiting
            return taken

    async def _end(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._note(connections=1, open_connections=1)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while await self._exchange(reader, writer):
                    pass
        finally:
            self._note(open_connections=-1)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One question and its answer; False when the connection is done with."""
        asked = await _read(reader)
        with self._news:
            self.asked.append(asked)
            self._waiting += 1
            self._most_waiting = max(self._most_waiting, self._waiting)
            answer = self._script.popleft() if self._script else None
            self._news.notify_all()
        if answer is None:
            answer = self._answering(asked) if self._answering else self._default
        is_there = await self._is_still_there(reader, answer.delay)
        self._waiting -= 1
        if not is_there:
            with self._news:
                self.disconnects.append(time.monotonic())
                self._news.notify_all()
            return False
        if answer.drop:
            return False
        writer.write(_written(answer, next(self._ids), asked))
        await writer.drain()
        return True

    async def _is_still_there(self, reader: asyncio.StreamReader, delay: float | None) -> bool:
        """Let time pass; whoever asked may hang up meanwhile."""
        if delay == 0:
            return True
        hung_up = asyncio.ensure_future(reader.read(1))
        done, _ = await asyncio.wait({hung_up}, timeout=delay)
        if not done:
            hung_up.cancel()
            with suppress(asyncio.CancelledError):
                await hung_up
        return not done

    def _note(self, **changes: int) -> None:
        with self._news:
            for name, change in changes.items():
                setattr(self, name, getattr(self, name) + change)
            self._news.notify_all()


def _completion(message: Json, reason: str, delay: float, usage: Json | None) -> Answer:
    content = {"object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": reason}]}
    if usage is None:
        usage = {"prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17}
    return Answer({**content, "usage": usage} if usage else content, delay=delay)


async def _read(reader: asyncio.StreamReader) -> Asked:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    pairs = (line.split(":", 1) for line in head[1:] if line)
    headers = {name.strip().lower(): value.strip() for name, value in pairs}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Asked(headers, json.loads(body or b"{}"), time.monotonic(), head[0].split(" ")[1])


def _written(answer: Answer, number: int, asked: Asked) -> bytes:
    content = answer.content
    if isinstance(content, dict):
        if answer.status == HTTPStatus.OK:
            model = f"{asked.body.get('model')}-2026"
            content = {"id": f"chatcmpl-{number}", "created": 1_790_000_000, "model": model, **content}
        content = json.dumps(content).encode()
    headers = {"Content-Type": "application/json", "Content-Length": str(len(content)), **answer.headers}
    known = answer.status in {status.value for status in HTTPStatus}
    lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase if known else 'of their own'}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + content
