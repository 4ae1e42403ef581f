"""The live stream: what changed, told to every open page within half a second.

Publishing: `announce(*topics)` only puts words into a queue, because the engine calls it on its hot path; a daemon
thread sends what has gathered every 250 ms. Listening: one Redis subscription per process feeds every page that process
serves. Topics are words such as `runs`, `run:<id>`, `approvals`, `fleet`; they carry no data, so permissions stay in
the views. Losing one is harmless: a page that was away asks for what it missed (`since`), or is told that everything
(`*`) may have changed.
"""

import asyncio
import atexit
import json
import logging
import os
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager, suppress
from weakref import WeakKeyDictionary

import redis
import redis.asyncio
from django.conf import settings
from django.db import connections
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.views.decorators.http import require_safe

logger = logging.getLogger(__name__)

CHANNEL = "cockpit:changes"
EVERYTHING = "*"
NOWHERE = "redis://127.0.0.1:6379/0"  # Redis' own default, tried when no address is set
FLUSH_EVERY = 0.25
PING_EVERY = 15.0
LIFE = 600.0  # a stream ends by itself, so that somebody who was signed out is not told for ever
REMEMBER = 30.0
MOST_TOPICS = 200  # more than these at once, and the page is told that everything changed
TRY_AGAIN = 1.0


class Announcer:
    """Gathers topics in this process and publishes them from a thread of its own."""

    def __init__(self) -> None:
        self._queue: deque[str] = deque(maxlen=10_000)
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._client: redis.Redis | None = None
        self._is_away = False

    def announce(self, topics: Iterable[str]) -> None:
        """Note topics; appending to a deque is atomic, so the caller takes no lock."""
        self._queue.extend(topics)
        if self._thread is None:
            self._start()

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="announcer", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            time.sleep(FLUSH_EVERY)
            self.flush()

    def flush(self) -> None:
        """Publish what has gathered. While Redis is away it is dropped, with one line in the log."""
        topics: set[str] = set()
        with suppress(IndexError):
            while True:
                topics.add(self._queue.popleft())
        if not topics:
            return
        message = json.dumps({"topics": sorted(topics), "at": int(time.time() * 1000)})
        try:
            self._client = self._client or redis.Redis.from_url(
                settings.REDIS_URL or NOWHERE, socket_timeout=2, socket_connect_timeout=2, health_check_interval=15
            )
            self._client.publish(CHANNEL, message)
            self._is_away = False
        except (redis.RedisError, OSError) as error:
            if not self._is_away:
                logger.warning("Open pages are not told of changes until Redis is back: %s", error)
            self._is_away = True


_announcer = Announcer()


def announce(*topics: str) -> None:
    """Tell every open page that these have changed. Call it once the change is committed; it never fails or waits."""
    _announcer.announce(topics)


def _renew_announcer() -> None:
    """A forked child has its parent's queue and no thread: it starts afresh, with a connection of its own."""
    global _announcer
    _announcer = Announcer()


os.register_at_fork(after_in_child=_renew_announcer)
atexit.register(lambda: _announcer.flush())  # a command that ends at once still tells what it did


class Page:
    """One listener: what changed since it was last told, however much that is."""

    def __init__(self, topics: Iterable[str] = ()) -> None:
        self._topics: set[str] = set()
        self._word = ""
        self._woken = asyncio.Event()
        if topics:
            self.tell(topics)

    def tell(self, topics: Iterable[str]) -> None:
        """Add topics; a page too slow for them is told once that everything changed."""
        self._topics.update(topics)
        if len(self._topics) > MOST_TOPICS:
            self._topics = {EVERYTHING}
        self._woken.set()

    def say(self, word: str) -> None:
        """`lost` when this process hears nothing itself any more, `hello` when it does again."""
        self._word = word
        self._woken.set()

    async def next(self) -> str:
        """The next event as it goes over the wire; a ping when nothing has happened for a while."""
        try:
            await asyncio.wait_for(self._woken.wait(), PING_EVERY)
        except TimeoutError:
            return _event("ping")
        self._woken.clear()
        topics, self._topics = self._topics, set()
        word, self._word = self._word, ""
        return (_event(word) if word else "") + (_event("change", topics=sorted(topics)) if topics else "")


class Hub:
    """The one subscription of an event loop, and the pages that listen to it."""

    def __init__(self) -> None:
        self.pages: set[Page] = set()
        self._heard: deque[tuple[float, list[str]]] = deque()
        self._listens_since: float | None = None
        self._is_lost = False
        self._task: asyncio.Task[None] | None = None

    def join(self, since: float) -> Page:
        """A new page, told at once what it missed after `since` (seconds)."""
        page = Page(self._missed(since))
        if self._listens_since or self._is_lost:
            page.say("lost" if self._is_lost else "hello")
        self.pages.add(page)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._listen())
        return page

    def leave(self, page: Page) -> None:
        """The page is gone. The subscription stays for the next one for as long as we remember."""
        self.pages.discard(page)

    def _missed(self, since: float) -> list[str]:
        if self._listens_since is None:
            return []  # the page is told everything once the subscription stands
        if since < max(self._listens_since, time.time() - REMEMBER):
            return [EVERYTHING]
        return [topic for at, topics in self._heard if at >= since for topic in topics]

    async def _listen(self) -> None:
        """Keep the subscription for as long as somebody listens; come back when Redis does."""
        client = redis.asyncio.Redis.from_url(
            settings.REDIS_URL or NOWHERE, health_check_interval=10, socket_connect_timeout=2
        )
        idle_since = time.monotonic()
        try:
            while self.pages or time.monotonic() - idle_since < REMEMBER:
                try:
                    idle_since = await self._hear(client)
                except (redis.RedisError, OSError) as error:
                    logger.warning("The live stream has lost Redis: %s", error)
                    self._lost()
                    await asyncio.sleep(TRY_AGAIN)
        finally:
            self._listens_since = None
            await client.aclose()

    async def _hear(self, client: "redis.asyncio.Redis") -> float:
        """Pass on what is published until nobody has listened for a while; answers since when."""
        async with client.pubsub(ignore_subscribe_messages=True) as subscription:
            await subscription.subscribe(CHANNEL)
            self._found()
            idle_since = time.monotonic()
            while self.pages or time.monotonic() - idle_since < REMEMBER:
                message = await subscription.get_message(timeout=5.0)
                if self.pages:
                    idle_since = time.monotonic()
                if message is not None:
                    self._pass_on(json.loads(message["data"])["topics"])
        return idle_since

    def _pass_on(self, topics: list[str]) -> None:
        now = time.time()
        self._heard.append((now, topics))
        while self._heard and self._heard[0][0] < now - REMEMBER:
            self._heard.popleft()
        for page in self.pages:
            page.tell(topics)

    def _found(self) -> None:
        """Hearing (again): whatever happened before may have been missed."""
        self._listens_since, self._is_lost = time.time(), False
        for page in self.pages:
            page.say("hello")
            page.tell([EVERYTHING])

    def _lost(self) -> None:
        self._listens_since, self._is_lost = None, True
        for page in self.pages:
            page.say("lost")


_hubs: "WeakKeyDictionary[asyncio.AbstractEventLoop, Hub]" = WeakKeyDictionary()


@require_safe
def events(request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
    """The stream of one browser. `since`: when its page was made, in milliseconds; `probe` only asks for entrance.

    The database connection goes back to the pool first: a stream that kept it would use up the pool in eight tabs.
    """
    if "probe" in request.GET:
        return HttpResponse(status=204)
    since = request.GET.get("since", "")
    stream = _stream(float(since) / 1000 if since.isdecimal() else time.time())
    response = StreamingHttpResponse(stream, content_type="text/event-stream")
    response["Cache-Control"], response["X-Accel-Buffering"] = "no-store", "no"
    response["Content-Encoding"] = "identity"  # compressing would hold events back until a block is full
    connections.close_all()
    return response


@contextmanager
def listening(since: float) -> Iterator[Page]:
    """Hear what changes, from that moment (seconds) on."""
    hub = _hubs.setdefault(asyncio.get_running_loop(), Hub())
    page = hub.join(since)
    try:
        yield page
    finally:
        hub.leave(page)


async def _stream(since: float) -> AsyncIterator[str]:
    """Events for one page, at most four a second, until it leaves or the stream has lived long enough."""
    ends_at = time.monotonic() + LIFE
    with listening(since) as page:
        yield "retry: 1000\n\n"
        while time.monotonic() < ends_at:
            yield await page.next()
            await asyncio.sleep(FLUSH_EVERY)
        yield _event("bye")


def _event(name: str, **data: object) -> str:
    """One server-sent event. Each says what time it is here: a browser whose clock is wrong still shows right ages."""
    return f"event: {name}\ndata: {json.dumps({**data, 'at': int(time.time() * 1000)})}\n\n"
