"""Asking a model: the chain, the retries, the clock and the cancel. The same for real and simulated models.

A release names a chain of models. Each is tried a few times while its failures are passing ones; the next takes over
when one fails for good. Every try is kept: on the reply, or as `attempts` on the error. A call that may be charged for
though nothing came back carries an estimate of its tokens, never nothing. Nothing of a provider's library is imported
before the first call of a real model.
"""

import asyncio
import importlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from random import SystemRandom

import stamina

from agents import errors
from agents.cancellation import Cancellation
from agents.contracts import Json, ModelAttempt, ModelReply, ModelRequest, Usage
from agents.llm import breakers, confidence, estimates, loop
from agents.llm.answers import Model, Said
from agents.llm.simulated import PROVIDER, SimulatedModel, label

ATTEMPTS = 3
"""Tries per model; a release may say otherwise with `attempts` in its settings."""

LONGEST_WAIT = 30.0
"""Seconds. Asked to wait longer, the gateway goes on to the next model, and `retry_after` tells the engine."""

GRACE = 5.0
"""Seconds beyond a call's own clock after which a breaker gives up hope of hearing from its probe."""

FIRST_WAIT, LONGEST_BACKOFF, JITTER = 0.2, 8.0, 0.5

_random = SystemRandom()


def ask(request: ModelRequest, cancellation: Cancellation) -> ModelReply:
    """The first answer that any model of the chain gives.

    Raises `errors.OutsideError` (see `failures` for its kinds) when none does, `errors.Aborted` within milliseconds
    of a cancel. Safe from any thread.
    """
    if cancellation.is_set:
        raise errors.Aborted("Cancelled before a model was asked.", billed=False)
    if any(link.get("provider") != PROVIDER for link in request.chain):
        importlib.import_module("agents.llm.providers")  # a second's work, not to be done on everyone's event loop
    call = _Call(request)
    try:
        return loop.run(call.answer(), cancellation)
    except errors.OutsideError as error:
        error.attempts = tuple(call.attempts)
        raise
    finally:
        breakers.tell()


@dataclass(frozen=True, slots=True)
class _Answer:
    link: Json
    said: Said


class _Call:
    """One question to a chain, and every try at an answer."""

    def __init__(self, request: ModelRequest) -> None:
        self.request = request
        self.offer = replace(request, tools=confidence.asked_of(request.tools))
        self.attempts: list[ModelAttempt] = []

    async def answer(self) -> ModelReply:
        """Down the chain until one answers."""
        try:
            answer = await self._from_chain()
        except asyncio.CancelledError:
            raise errors.Aborted("Cancelled between two tries.", billed=False) from None
        message, confidences = confidence.taken_from(answer.said.message, self.request.tools)
        provider, model = _names(answer.link)
        return ModelReply(
            message=message,
            provider=provider,
            model=model,
            response_model=answer.said.response_model,
            usage=answer.said.usage,
            confidences=confidences,
            attempts=tuple(self.attempts),
        )

    async def _from_chain(self) -> _Answer:
        failures: list[errors.OutsideError] = []
        for link in self.request.chain:
            try:
                return _Answer(link, await self._patiently(link))
            except errors.Aborted:
                raise
            except errors.OutsideError as error:
                failures.append(error)
        raise _nobody(failures)

    async def _patiently(self, link: Json) -> Said:
        """One model, again while it fails in passing."""
        tries = _tries(self.request.settings)
        async for attempt in stamina.retry_context(
            on=_pause,
            attempts=tries,
            timeout=None,
            wait_initial=FIRST_WAIT,
            wait_max=LONGEST_BACKOFF,
            wait_jitter=JITTER,
        ):
            with attempt:
                return await self._once(link, attempt.num)
        raise AssertionError("stamina returns an answer or raises")

    async def _once(self, link: Json, number: int) -> Said:
        """One try, kept whatever comes of it."""
        started, clock = datetime.now(UTC), time.monotonic()
        provider, model = _names(link)
        try:
            said = await self._through_the_breaker(link, number)
        except errors.OutsideError as failure:
            seconds = time.monotonic() - clock
            usage = self._lost(seconds) if failure.billed else None
            attempt = ModelAttempt(provider, model, started, seconds, str(failure), usage, failure.kind)
            self.attempts.append(attempt)
            raise
        self.attempts.append(ModelAttempt(provider, model, started, time.monotonic() - clock))
        return said

    async def _through_the_breaker(self, link: Json, number: int) -> Said:
        model = _model(link)
        permit = await breakers.admit(breakers.of_model(link), patience=self.request.timeout + GRACE)
        try:
            said = await self._in_time(model, number)
        except errors.OutsideError as failure:
            await breakers.report(permit, failure)
            raise
        await breakers.report(permit, None)
        return said

    async def _in_time(self, model: Model, number: int) -> Said:
        try:
            async with asyncio.timeout(self.request.timeout):
                return await model.answer(self.offer, attempt=number)
        except asyncio.CancelledError:
            raise errors.Aborted(f"Cancelled while {model.model} was answering.") from None
        except TimeoutError:
            sentence = f"{model.model} did not answer within {self.request.timeout:g} s."
            raise errors.OutsideError(sentence, kind="timeout", permanent=False, billed=True) from None

    def _lost(self, seconds: float) -> Usage:
        """What a call that came to nothing after so long may be charged for."""
        most = self.request.settings.get("max_tokens")
        return estimates.of_request(self.request.messages, self.offer.tools, seconds=seconds, most=most)


def _model(link: Json) -> Model:
    if not (link.get("provider") and link.get("model")):
        raise _misconfigured(f"A model of the chain says {link!r}; it needs a provider and a model.")
    if link.get("provider") == PROVIDER:
        return SimulatedModel(link["model"])
    from agents.llm import providers  # a provider's library is 60 MB that workers without real models never need

    return providers.connected(link)


def _names(link: Json) -> tuple[str, str]:
    provider, model = str(link.get("provider", "")), str(link.get("model", ""))
    return provider, label(model) if provider == PROVIDER else model


def _tries(settings: Json) -> int:
    tries = settings.get("attempts", ATTEMPTS)
    if isinstance(tries, bool) or not isinstance(tries, int) or tries < 1:
        raise _misconfigured(f"The setting attempts is {tries!r}; it takes a whole number from 1 up.")
    return tries


def _pause(error: Exception) -> bool | float:
    """Whether to try again, and when; `True` leaves it to the growing, jittered back-off."""
    if not isinstance(error, errors.OutsideError) or error.permanent or error.kind == "breaker_open":
        return False
    if error.retry_after is None:
        return True
    # Never sooner than asked, and not all at the same moment.
    return error.retry_after <= LONGEST_WAIT and error.retry_after + _random.uniform(0.01, JITTER)


def _nobody(failures: Sequence[errors.OutsideError]) -> errors.OutsideError:
    """One error for a whole chain: trying again helps if it may help with any of its models."""
    if not failures:
        return _misconfigured("The release names no model; a chain needs at least one {provider, model}.")
    if len(failures) == 1:
        return failures[0]
    last = next((error for error in reversed(failures) if not error.permanent), failures[-1])
    waits = [error.retry_after for error in failures if error.retry_after is not None]
    return errors.OutsideError(
        "No model of the chain answered. " + " ".join(str(error) for error in failures),
        kind=last.kind,
        permanent=last.permanent,
        billed=any(error.billed for error in failures),
        retry_after=min(waits, default=None),
    )


def _misconfigured(sentence: str) -> errors.OutsideError:
    return errors.OutsideError(sentence, kind="configuration", permanent=True)
