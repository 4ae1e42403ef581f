"""What the processes of a fleet know together: small scripts run in Redis, asked for by one thread per process.

One thread because model calls live on one event loop, which must not stand still for a round trip, and because it sends
what many callers want at once in one go. While Redis is away every question is answered at once with `Away`, whatever
the reason: only the thread itself looks now and then whether it is back. Whoever asks then goes by its own memory.
"""

import asyncio
import hashlib
import logging
import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

import redis
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

log = logging.getLogger(__name__)

TIMEOUT = 0.25
"""Seconds for a connection or an answer; a server on the same network takes one thousandth of it."""

LOOK_AGAIN = 1.0
PATIENCE = 1.0
"""The longest a caller waits behind others. Only a process that gets no processor ever comes near it."""

MOST_AT_ONCE = 200


class Away(Exception):
    """Redis cannot be asked now; go by what this process knows."""


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script, known to Redis by its digest."""

    text: str
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest())


@dataclass(frozen=True, slots=True)
class Question:
    """One script to run, and where its answer goes."""

    script: Script
    keys: Sequence[str]
    args: Sequence[str | int | float]
    answer: "Future[Any]"


PING = Script("return 1")


class Line:
    """The thread, its connection and what is waiting to be sent."""

    def __init__(self) -> None:
        self._waiting: SimpleQueue[Question] = SimpleQueue()
        self._client: redis.Redis = redis.Redis.from_url(
            settings.REDIS_URL or "redis://127.0.0.1:6379/0",
            socket_timeout=TIMEOUT,
            socket_connect_timeout=TIMEOUT,
            retry=Retry(NoBackoff(), 0),  # the library's own would wait longer, and run a script twice
            decode_responses=True,
        )
        self._is_away = False
        self._look_at = 0.0
        threading.Thread(target=self._run, name="shared", daemon=True).start()

    def ask(self, script: Script, keys: Sequence[str], *args: str | int | float) -> "Future[Any]":
        """The script's answer to come, or `Away` in it."""
        question = Question(script, keys, args, Future())
        if not self._is_away:
            self._waiting.put(question)
            return question.answer
        question.answer.set_exception(Away())
        if time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + LOOK_AGAIN
            self._waiting.put(Question(PING, (), (), Future()))
        return question.answer

    def _run(self) -> None:
        while True:
            batch = [self._waiting.get()]
            try:
                while len(batch) < MOST_AT_ONCE:
                    batch.append(self._waiting.get_nowait())
            except Empty:
                pass
            self._answer([one for one in batch if one.answer.set_running_or_notify_cancel()])

    def _answer(self, batch: list[Question]) -> None:
        try:
            answers = self._send(batch)
        except Exception as error:  # whatever is wrong with Redis is wrong for all of them, and this thread lives on
            if not self._is_away:
                log.warning("Redis is away (%s); breakers and limits hold in each process by itself", error)
            self._is_away, self._look_at = True, time.monotonic() + LOOK_AGAIN
            for question in batch:
                question.answer.set_exception(Away())
            return
        self._is_away = False
        for question, answer in zip(batch, answers, strict=True):
            if isinstance(answer, Exception):  # full, or read-only: as good as away, and worth a line each time
                log.error("Redis refused a script: %s", answer)
                question.answer.set_exception(Away())
            else:
                question.answer.set_result(answer)

    def _send(self, batch: list[Question]) -> list[Any]:
        """All of them in one go. A server that does not know a script yet (it was restarted) is told its text."""
        pipeline = self._client.pipeline(transaction=False)
        for one in batch:
            pipeline.evalsha(one.script.digest, len(one.keys), *one.keys, *one.args)
        answers = pipeline.execute(raise_on_error=False)
        for number, (one, answer) in enumerate(zip(batch, answers, strict=True)):
            if isinstance(answer, redis.exceptions.NoScriptError):
                answers[number] = self._client.eval(one.script.text, len(one.keys), *one.keys, *one.args)
            elif isinstance(answer, redis.exceptions.ConnectionError | redis.exceptions.TimeoutError):
                raise answer
        return answers


_making = threading.Lock()
_line: Line | None = None
_inherited: list[object] = []


def line() -> Line:
    """This process's line, made when first needed."""
    global _line
    with _making:
        _line = _line or Line()
        return _line


async def ask(script: Script, keys: Sequence[str], *args: str | int | float) -> Any:
    """Run a script, without keeping the event loop. Raises `Away`."""
    try:
        return await asyncio.wait_for(asyncio.wrap_future(line().ask(script, keys, *args)), PATIENCE)
    except TimeoutError:
        raise Away from None


def ask_now(script: Script, keys: Sequence[str], *args: str | int | float) -> Any:
    """Run a script and wait for it, in a thread that may. Raises `Away`."""
    try:
        return line().ask(script, keys, *args).result(PATIENCE)
    except TimeoutError:
        raise Away from None


def _forget() -> None:
    """A forked child has no such thread; the parent's connection is neither used nor closed by it."""
    global _line, _making
    _inherited.append(_line)
    _line, _making = None, threading.Lock()


os.register_at_fork(after_in_child=_forget)
