"""One HTTP request to somebody else's server: to an address that was checked, with a time limit, never redirected.

Of the standard library, because the connection must go to the very address that was checked: a client that looks the
name up a second time may be told another one.
"""

import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import cache
from http.client import HTTPConnection, HTTPException, HTTPResponse
from time import monotonic
from urllib.parse import SplitResult, urlsplit

from django.utils import timezone

from approvals.notify import addresses

SECONDS = 10.0
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


class _Pinned(HTTPConnection):
    """A connection to one checked address, under the name that the other side goes by."""

    def __init__(self, parts: SplitResult, addresses_: list[str]) -> None:
        self.is_tls = parts.scheme == "https"
        super().__init__(parts.hostname or "", parts.port or addresses.PORTS[parts.scheme], timeout=SECONDS)
        self._addresses = addresses_

    def connect(self) -> None:
        """To the first of the addresses that answers."""
        for place, address in enumerate(self._addresses, 1):
            try:
                self.sock = socket.create_connection((address, self.port), SECONDS / len(self._addresses))
                break
            except OSError:
                if place == len(self._addresses):
                    raise
        self.sock.settimeout(SECONDS)
        if self.is_tls:
            self.sock = _trusting().wrap_socket(self.sock, server_hostname=self.host)


@cache
def _trusting() -> ssl.SSLContext:
    return ssl.create_default_context()


def post(address: str, body: bytes, headers: Mapping[str, str]) -> Outcome:
    """Send it once. Nothing the other side does is an exception: it is an outcome with a sentence."""
    parts = urlsplit(address)
    target = parts.path or "/"
    try:
        connection = _Pinned(parts, addresses.resolved(parts))
    except addresses.Refused as refusal:
        return Outcome(error=str(refusal))
    try:
        connection.request(
            "POST",
            f"{target}?{parts.query}" if parts.query else target,
            body=body,
            headers={**headers, "Host": parts.netloc, "User-Agent": "operator-cockpit", "Connection": "close"},
        )
        return _read(connection.getresponse(), until=monotonic() + SECONDS)
    except TimeoutError:
        return Outcome(error=f"{parts.netloc} did not answer within {SECONDS:.0f} s.")
    except (OSError, HTTPException, UnicodeError) as error:
        return Outcome(error=f"{parts.netloc}: {_words(str(error)) or type(error).__name__}.")
    finally:
        connection.close()


def _read(response: HTTPResponse, *, until: float) -> Outcome:
    """Only as much as says what is wrong, and no longer than anybody waits."""
    text = b""
    while (
        not 200 <= response.status < 300 and len(text) < READ and monotonic() < until and (part := response.read1(READ))
    ):
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
