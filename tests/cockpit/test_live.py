"""The live stream, through a real Redis: what is announced anywhere reaches every open page and holds nobody up."""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.db import connection
from django.middleware.gzip import GZipMiddleware
from django.test import Client, RequestFactory

from agents.models import Team
from cockpit import live
from cockpit.servers import Redis

Told = tuple[str, dict[str, Any]]


def listen(story: Callable[["Listener"], Awaitable[None]], *, since: float | None = None) -> None:
    """Open a stream as a browser would and play `story` with it."""

    async def play() -> None:
        async with aclosing(live._stream(time.time() if since is None else since)) as stream:
            await asyncio.wait_for(story(Listener(stream)), 20)

    asyncio.run(play())


class Listener:
    """The events of one stream, one by one."""

    def __init__(self, stream: AsyncIterator[str]) -> None:
        self._stream = stream
        self._told: list[Told] = []

    async def next(self) -> Told:
        while not self._told:
            blocks = (await anext(self._stream)).split("\n\n")
            self._told = [_read(block) for block in blocks if block.startswith("event:")]
        return self._told.pop(0)

    async def topics(self) -> set[str]:
        """What the next change is about."""
        while True:
            name, data = await self.next()
            if name == "change":
                return set(data["topics"])

    async def ready(self) -> None:
        """Until the subscription stands: then everything may have changed."""
        assert await self.topics() == {"*"}


def _read(block: str) -> Told:
    name, data = block.split("\n")
    return name.removeprefix("event: "), json.loads(data.removeprefix("data: "))


def test_what_is_announced_reaches_a_page_once_however_often_it_was_said():
    async def story(page: Listener) -> None:
        await page.ready()
        for _ in range(1000):
            live.announce("runs", "run:1")
        assert await page.topics() == {"runs", "run:1"}

    listen(story)


def test_a_page_is_told_at_most_four_times_a_second():
    async def story(page: Listener) -> None:
        await page.ready()
        told, until = 0, time.monotonic() + 2
        while time.monotonic() < until:
            live.announce("runs")
            live._announcer.flush()
            await page.topics()
            told += 1
        assert 4 <= told <= 9

    listen(story)


def test_a_page_that_came_back_is_told_what_it_missed_and_no_more():
    async def story(page: Listener) -> None:
        await page.ready()
        live.announce("before")
        assert await page.topics() == {"before"}
        await asyncio.sleep(0.3)
        left_at = time.time()
        live.announce("meanwhile")
        assert await page.topics() == {"meanwhile"}
        async with aclosing(live._stream(left_at)) as again:
            assert await Listener(again).topics() == {"meanwhile"}
        async with aclosing(live._stream(left_at - 3600)) as stale:
            assert await Listener(stale).topics() == {"*"}

    listen(story)


def test_more_topics_than_a_page_can_use_become_everything():
    async def story(page: Listener) -> None:
        await page.ready()
        live.announce(*(f"run:{number}" for number in range(live.MOST_TOPICS + 1)))
        assert await page.topics() == {"*"}

    listen(story)


def test_pages_hear_that_redis_is_away_and_that_it_is_back(tmp_path, settings):
    server = Redis(tmp_path, test=True).start()
    again = Redis(tmp_path, port=server.port, test=True)
    settings.REDIS_URL = server.url

    async def story(page: Listener) -> None:
        await page.ready()
        server.stop()
        assert (await page.next())[0] == "lost"
        again.start()
        assert (await page.next())[0] == "hello"
        assert await page.topics() == {"*"}

    try:
        listen(story)
    finally:
        server.stop()
        again.stop()


def test_without_redis_announcing_costs_one_line_in_the_log_and_nothing_else(settings, caplog):
    settings.REDIS_URL = "redis://127.0.0.1:9/0"
    announcer = live.Announcer()
    for _ in range(3):
        announcer._queue.append("runs")
        announcer.flush()
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "Open pages are not told of changes until Redis is back"
    ]


def test_a_forked_child_announces_for_itself():
    async def story(page: Listener) -> None:
        await page.ready()
        live.announce("parent")
        assert await page.topics() == {"parent"}
        if not (child := os.fork()):
            live.announce("child")
            time.sleep(0.6)
            os._exit(0)
        assert await page.topics() == {"child"}
        os.waitpid(child, 0)

    listen(story)


def test_a_stream_ends_by_itself_and_asks_to_be_opened_again(monkeypatch):
    monkeypatch.setattr(live, "LIFE", 0.2)

    async def story(page: Listener) -> None:
        await page.ready()
        assert (await page.next())[0] == "bye"

    listen(story)


def test_a_page_that_leaves_is_forgotten():
    async def story(page: Listener) -> None:
        await page.ready()
        hub = live._hubs[asyncio.get_running_loop()]
        async with aclosing(live._stream(time.time())) as other:
            await anext(other)
            assert len(hub.pages) == 2
        assert len(hub.pages) == 1

    listen(story)


@pytest.mark.django_db(transaction=True)
def test_a_stream_keeps_no_database_connection():
    assert not Team.objects.exists()
    assert connection.connection is not None
    request = RequestFactory().get("/events/", {"since": "rubbish"})
    request.user = AnonymousUser()
    response = live.events(request)
    assert connection.connection is None
    assert (response["Content-Type"], response["X-Accel-Buffering"]) == ("text/event-stream", "no")
    assert GZipMiddleware(lambda _: response)(request)["Content-Encoding"] == "identity"  # nothing holds events back


def test_a_stranger_hears_nothing():
    assert Client().get("/events/").url == "/login/?next=/events/"
