"""Asking a model: the chain, the second try, the clock and the cancel. The same for real and simulated models.

A release names a chain of models. One that fails in passing is tried a second time if that is a matter of a moment;
then the next takes over. Whatever takes longer is for the engine, which waits as a row and not as a thread: the error
says after how many seconds. Every try is kept: on the reply, or as `attempts` on the error. A call that may be charged
for though nothing came back carries an estimate of its tokens, never nothing. Nothing of a provider's library is
imported before the first call of a real model.
"""

import asyncio
import importlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from random import SystemRandom

from django.conf import settings

from agents import errors
from agents.cancellation import Cancellation
from agents.contracts import Json, ModelAttempt, ModelReply, ModelRequest, Usage
from agents.llm import breakers, capacity, confidence, degrading, estimates, kept, limits, loop, recorded
from agents.llm.answers import Model, Said
from agents.llm.simulated import PROVIDER, SimulatedModel, label
from agents.registry import chains

WAITING = frozenset({"capacity", "breaker_open"})
"""Kinds of failures that nobody was asked for."""

GRACE = 5.0
"""Seconds beyond a call's own clock after which a breaker gives up hope of hearing from its probe."""

MOMENT = 1.0
"""Seconds that a provider may ask the gateway itself to wait before a second try."""

SOON = (0.2, 0.6)
"""Seconds before a second try where nobody said: spread, so that not all come back at once."""

SECOND_TRY = frozenset({"rate_limited", "overloaded", "server", "connection", "malformed"})
"""Failures after which a second try may help at once. Not timeouts: those have taken long enough."""

NO_LIBRARY = frozenset({PROVIDER, recorded.PROVIDER, chains.CACHED, chains.PERSON})
"""Links of a chain for which no provider's library is needed."""

USUAL_ANSWER = 500
"""Tokens, where a release sets no `max_tokens`."""

_random = SystemRandom()


def ask(request: ModelRequest, cancellation: Cancellation) -> ModelReply:
    """The first answer that any model of the chain gives.

    Raises `errors.OutsideError` (see `failures` for its kinds) when none does, `errors.NoCapacity` when that is only
    for want of room, `errors.Aborted` within milliseconds of a cancel. Safe from any thread.
    """
    if cancellation.is_set:
        raise errors.Aborted("Cancelled before a model was asked.", billed=False)
    prepare([*request.chain, *request.degraded.get("models", [])])
    call = _Call(request, limits.current())
    try:
        reply = loop.run(call.answer(), cancellation)
    except errors.OutsideError as error:
        error.attempts = tuple(call.attempts)
        raise
    finally:
        breakers.tell()
    if settings.RECORD_MODELS and call.said and reply.provider not in NO_LIBRARY:
        recorded.record(settings.RECORD_MODELS, call.offer, call.said)
    return reply


def prepare(chain: Sequence[Json]) -> None:
    """Load what asking one of these takes: a second's work the first time, not to be done on everyone's event loop."""
    if any(link.get("provider") not in NO_LIBRARY for link in chain):
        importlib.import_module("agents.llm.providers")


@dataclass(frozen=True, slots=True)
class _Answer:
    provider: str
    model: str
    said: Said


class _Call:
    """One question to a chain, and every try at an answer."""

    def __init__(self, request: ModelRequest, within: limits.Limits) -> None:
        self.request = self.offer = request
        self.limits, self.degraded = within, ""
        self.said: Said | None = None
        self.attempts: list[ModelAttempt] = []

    async def answer(self) -> ModelReply:
        """Down the chain until one answers."""
        try:
            await self._settle()
            held = await capacity.take(self._places())
            try:
                answer = await self._as_settled()
            finally:
                capacity.give(held)
        except asyncio.CancelledError:
            raise errors.Aborted("Cancelled between two tries.", billed=False) from None
        self.said = answer.said
        message, confidences = confidence.taken_from(answer.said.message, self.request.tools)
        return ModelReply(
            message=message,
            provider=answer.provider,
            model=answer.model,
            response_model=answer.said.response_model,
            usage=answer.said.usage,
            confidences=confidences,
            attempts=tuple(self.attempts),
            degraded=self.degraded,
        )

    async def _settle(self) -> bool:
        """As usual, or as the release wants it while its first model is away; whether it is the latter."""
        self.request, self.degraded = await degrading.applied(self.request)
        self.offer = replace(self.request, tools=confidence.asked_of(self.request.tools))
        return bool(self.degraded)

    async def _as_settled(self) -> _Answer:
        """An answer from the chain. A question that found its first model away, or was the probe that found it away
        still, is asked again as the release wants it then: it would wait for the next probe, and be it, for ever."""
        try:
            return await self._from_chain()
        except errors.Aborted:
            raise
        except errors.OutsideError:
            if self.degraded or not self.request.degraded.get("models") or not await self._settle():
                raise
        return await self._from_chain()

    async def _from_chain(self) -> _Answer:
        failures: list[errors.OutsideError] = []
        for link in self.request.chain:
            if link.get("provider") == chains.PERSON:
                raise _ask_person(failures)
            try:
                if link.get("provider") == chains.CACHED:
                    return await self._from_memory(link)
                said = await self._patiently(link)
                self._remember(link, said)
                return _Answer(*_names(link), said)
            except errors.Aborted:
                raise
            except errors.OutsideError as error:
                failures.append(error)
        raise _nobody(failures)

    async def _from_memory(self, link: Json) -> _Answer:
        """What the same question was answered before. Nobody is asked, so nothing is billed."""
        started, clock = datetime.now(UTC), time.monotonic()
        try:
            model, said = await kept.find(self.request, max_age=float(link.get("max_age_s", 0)))
        except errors.OutsideError as failure:
            self._keep(link, started, time.monotonic() - clock, failure)
            raise
        self._keep({**link, "model": model}, started, time.monotonic() - clock, None)
        return _Answer(chains.CACHED, model, said)

    def _remember(self, link: Json, said: Said) -> None:
        ages = [float(one.get("max_age_s", 0)) for one in self.request.chain if one.get("provider") == chains.CACHED]
        if ages:
            kept.keep(self.request, _names(link)[1], said, max_age=ages[0])

    async def _patiently(self, link: Json) -> Said:
        """One model, and once more when it failed in passing."""
        try:
            return await self._once(link, 1)
        except errors.OutsideError as error:
            pause = _pause(error)
            if pause is None:
                raise
        await asyncio.sleep(pause)
        return await self._once(link, 2)

    async def _once(self, link: Json, number: int) -> Said:
        """One try, kept whatever comes of it."""
        started, clock = datetime.now(UTC), time.monotonic()
        permit = None
        try:
            model = _model(link)
            permit = await breakers.admit(breakers.of_model(link), patience=self.request.timeout + GRACE)
            said = await self._with_room(link, model, number)
        except errors.OutsideError as failure:
            self._keep(link, started, time.monotonic() - clock, failure)
            if permit:
                await _report(permit, failure)
            raise
        self._keep(link, started, time.monotonic() - clock, None)
        await _report(permit, None)
        return said

    def _keep(self, link: Json, started: datetime, seconds: float, failure: errors.OutsideError | None) -> None:
        provider, model = _names(link)
        if failure is None:
            self.attempts.append(ModelAttempt(provider, model, started, seconds))
            return
        usage = self._lost(seconds) if failure.billed else None
        self.attempts.append(ModelAttempt(provider, model, started, seconds, str(failure), usage, failure.kind))

    def _places(self) -> list[capacity.Place]:
        """What the agent and its team hold of what they may."""
        request = self.request
        allowed = [self.limits.at_a_time("agents", request.agent), request.concurrency]
        agent = min((limit for limit in allowed if limit), default=0)
        team = self.limits.at_a_time("teams", request.team)
        places = [capacity.Place("agent", request.agent, agent), capacity.Place("team", request.team, team)]
        return [place for place in places if place.limit]

    async def _with_room(self, link: Json, model: Model, number: int) -> Said:
        """Ask within what its provider takes. The tokens that were counted replace the guess."""
        provider = str(link["provider"])
        calls, tokens, at_a_time = (self.limits.of_provider(provider, key) for key in limits.KEYS["providers"])
        places = [capacity.Place("provider", provider, at_a_time)] if at_a_time else []
        pace = capacity.Pace(provider, calls, tokens) if calls or tokens else None
        held = await capacity.take(places, pace, tokens=self._expected() if tokens else 0)
        used: int | None = None
        try:
            said = await self._in_time(model, number)
            used = (said.usage.input or 0) + (said.usage.output or 0) or None
            return said
        finally:
            capacity.give(held, tokens=used if tokens else None)

    def _expected(self) -> int:
        """How many tokens a provider will take this for: what goes out, and the longest answer that was asked for."""
        most = self.request.settings.get("max_tokens")
        sent = estimates.of_request(self.request.messages, self.offer.tools)
        return (sent.input or 0) + (most if isinstance(most, int) else USUAL_ANSWER)

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


async def _report(permit: breakers.Permit, failure: errors.OutsideError | None) -> None:
    """Tell the breaker, to the end: an answer is not thrown away because somebody cancels in that moment."""
    telling = asyncio.ensure_future(breakers.report(permit, failure))
    try:
        await asyncio.shield(telling)
    except asyncio.CancelledError:
        await telling
        if failure:
            raise


def _model(link: Json) -> Model:
    if not (link.get("provider") and link.get("model")):
        raise _misconfigured(f"A model of the chain says {link!r}; it needs a provider and a model.")
    if link.get("provider") == PROVIDER:
        return SimulatedModel(link["model"])
    if link.get("provider") == recorded.PROVIDER:
        return recorded.RecordedModel(link["model"])
    from agents.llm import providers  # a provider's library is 60 MB that workers without real models never need

    return providers.connected(link)


def _names(link: Json) -> tuple[str, str]:
    provider, model = str(link.get("provider", "")), str(link.get("model", ""))
    return provider, label(model) if provider == PROVIDER else model


def _pause(failure: errors.OutsideError) -> float | None:
    """Seconds to a second try; None when it would not help, or not in a moment."""
    if failure.permanent or failure.kind not in SECOND_TRY:
        return None
    if failure.retry_after is None:
        return _random.uniform(*SOON)
    if failure.retry_after > MOMENT:
        return None
    return failure.retry_after + _random.uniform(0.01, 0.05)  # never sooner than asked


def _nobody(failures: Sequence[errors.OutsideError]) -> errors.OutsideError:
    """One error for a whole chain: trying again helps if it may help with any of its models."""
    if not failures:
        return _misconfigured("The release names no model; a chain needs at least one {provider, model}.")
    if len(failures) == 1:
        return failures[0]
    if room := _only_room(failures):
        return room
    last = next((error for error in reversed(failures) if not error.permanent), failures[-1])
    waits = [error.retry_after for error in failures if error.retry_after is not None]
    return errors.OutsideError(
        "No model of the chain answered. " + " ".join(str(error) for error in failures),
        kind=last.kind,
        permanent=last.permanent,
        billed=any(error.billed for error in failures),
        retry_after=min(waits, default=None),
    )


def _ask_person(failures: Sequence[errors.OutsideError]) -> errors.OutsideError:
    """A person instead of the models; not for want of room, which only takes a while."""
    if room := _only_room(failures):
        return room
    waits = [error.retry_after for error in failures if error.retry_after is not None]
    return errors.AskPerson(" ".join(str(error) for error in failures), retry_after=min(waits, default=None))


def _only_room(failures: Sequence[errors.OutsideError]) -> errors.NoCapacity | None:
    """That there is no room, where nothing else stands between this question and an answer but time."""
    full = [error for error in failures if isinstance(error, errors.NoCapacity)]
    if not full or any(not error.permanent and error.kind not in WAITING for error in failures):
        return None
    waits = [error.retry_after for error in failures if error.retry_after is not None]
    return errors.NoCapacity(" ".join(str(error) for error in failures), retry_after=min(waits))


def _misconfigured(sentence: str) -> errors.OutsideError:
    return errors.OutsideError(sentence, kind="configuration", permanent=True)
