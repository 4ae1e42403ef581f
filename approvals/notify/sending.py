"""One HTTP request to somebody else's server: to an address that was checked, within a time, never redirected.

Of the standard library, because the connection must go to the very address that was checked: a client that looks the
name up a second time may be told another one. The time is that of the whole exchange: a limit for each read would be
kept for ever by whoever sends a byte now and then.
"""

import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import cache
from http.client import HTTPConnection, HTTPException, HTTPResponse
from time import monotonic
from typing import Any, cast
from urllib.parse import SplitResult, urlsplit

from django.utils import timezone

from approvals.notify import addresses

SECONDS = 10.0
"""For all of it; well within the time for which a sender holds its lane (`outbox.LEASE`)."""
READ = 2048
LONGEST_WAIT = 3600.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a try. `error` is empty where it arrived; `retry_after` is what the other side asked for, in
    seconds; `gone` where it never wants to hear again."""

    status: int | None = None
    error: str = ""
    retry_after: float = 0.0

    @property
    def gone(self) -> bool:
        """410: the endpoint itself says that it is no more."""
        return self.status == 410


class _Timed(socket.socket):
    """A socket that is done with at a moment, however often the other side says a little."""

    until = 0.0

    def recv_into(self, *args: Any) -> int:
        """Wait for as long as is left, and no more."""
        self.settimeout(_left(self.until))
        return super().recv_into(*args)

    def send(self, *args: Any) -> int:
        """The same for what the other side is slow to take."""
        self.settimeout(_left(self.until))
        return super().send(*args)


class _TimedTls(_Timed, ssl.SSLSocket):
    """The same under TLS, whose handshake as a whole takes no longer than the socket's time limit."""


def _left(until: float) -> float:
    """How many seconds are left."""
    left = until - monotonic()
    if left <= 0:
        raise TimeoutError
    return left


class _Pinned(HTTPConnection):
    """A connection to one checked address, under the name that the other side goes by, until a moment."""

    def __init__(self, parts: SplitResult, addresses_: list[str], until: float) -> None:
        self.is_tls = parts.scheme == "https"
        super().__init__(parts.hostname or "", parts.port or addresses.PORTS[parts.scheme])
        self._addresses, self._until = addresses_, until

    def connect(self) -> None:
        """To the first of the addresses that answers."""
        made = self._reached()
        made.settimeout(_left(self._until))
        if self.is_tls:
            made = cast(_TimedTls, _trusting().wrap_socket(made, server_hostname=self.host))
        made.until = self._until
        made.settimeout(_left(self._until))
        self.sock = made

    def _reached(self) -> _Timed:
        most = _left(self._until) / len(self._addresses)
        for address in self._addresses[:-1]:
            with suppress(OSError):
                return _timed(address, self.port, most)
        return _timed(self._addresses[-1], self.port, most)


def _timed(address: str, port: int, most: float) -> _Timed:
    return _Timed(fileno=socket.create_connection((address, port), most).detach())


@cache
def _trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.sslsocket_class = _TimedTls
    return context


def post(address: str, body: bytes, headers: Mapping[str, str], *, within: float = SECONDS) -> Outcome:
    """Send it once. Nothing the other side does is an exception: it is an outcome with a sentence."""
    until = monotonic() + within
    parts = urlsplit(address)
    target = parts.path or "/"
    try:
        connection = _Pinned(parts, addresses.resolved(parts), until)
    except addresses.Refused as refusal:
        return Outcome(error=str(refusal))
    try:
        connection.request(
            "POST",
            f"{target}?{parts.query}" if parts.query else target,
            body=body,
            headers={**headers, "Host": parts.netloc, "User-Agent": "operator-cockpit", "Connection": "close"},
        )
        return _read(connection.getresponse())
    except TimeoutError:
        return Outcome(error=f"{parts.netloc} did not answer within {within:g} s.")
    except (OSError, HTTPException, UnicodeError) as error:
        return Outcome(error=f"{parts.netloc}: {_words(str(error)) or type(error).__name__}.")
    finally:
        connection.close()


def _read(response: HTTPResponse) -> Outcome:
    """Only as much as says what is wrong, and no longer than anybody waits; the status is known by then."""
    text = b""
    with suppress(TimeoutError):
        while not 200 <= response.status < 300 and len(text) < READ and (part := response.read1(READ)):
            text += part
    if 200 <= response.status < 300:
        return Outcome(response.status)
    what = f"It answered {response.status} {response.reason or ''}".rstrip()
    if 300 <= response.status < 400:
        what += ", which sends elsewhere; enter the address that it sends to"
    said = _words(text.decode("utf-8", "replace"))
    return Outcome(response.status, f"{what}: {said}" if said else f"{what}.", _asked(response))


def _words(text: str) -> str:
    """A line of it, without what a page would stumble over."""
    plain = " ".join("".join(mark if mark.isprintable() else " " for mark in text).split())
    return plain if len(plain) <= 200 else f"{plain[:199]}…"


def _asked(response: HTTPResponse) -> float:
    """How long the other side asks us to wait, in seconds or as a date."""
    text = response.getheader("Retry-After", "").strip()
    if text.isdecimal():
        return min(float(text), LONGEST_WAIT)
    try:
        seconds = (parsedate_to_datetime(text) - timezone.now()).total_seconds()
    except (ValueError, TypeError):
        return 0.0
    return min(max(seconds, 0.0), LONGEST_WAIT)
