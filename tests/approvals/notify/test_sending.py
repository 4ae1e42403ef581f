"""One request has a time for all of it: whoever says a little now and then keeps nobody longer than who is silent."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_network
from itertools import chain, repeat
from time import monotonic
from typing import Any

import pytest

from approvals.notify import outbox, sending

WITHIN = 0.4
PAUSE = 0.05


@contextmanager
def dripping(first: bytes, then: bytes) -> Iterator[int]:
    """A server that answers whatever it is sent with `first` at once and `then` byte by byte, for ever; its port."""
    listening, over = socket.create_server(("127.0.0.1", 0)), threading.Event()

    def drip() -> None:
        with suppress(OSError):
            other, _ = listening.accept()
            with other:
                other.sendall(first)
                for byte in chain(then, repeat(ord("x"))):
                    if over.wait(PAUSE):
                        break
                    other.sendall(bytes([byte]))

    thread = threading.Thread(target=drip, daemon=True)
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        over.set()
        listening.close()
        thread.join()


@pytest.mark.parametrize(
    ("scheme", "then"),
    [
        pytest.param("http", b"HTTP/1.1 200 OK\r\nX-Slow: ", id="headers"),
        pytest.param("https", b"\x16\x03\x03\x40\x00\x02\x00\x3f\xf0", id="TLS handshake"),
    ],
)
def test_who_drips_is_left_when_the_time_is_over(scheme: str, then: bytes, settings: Any) -> None:
    settings.NOTIFY_NETWORKS = [ip_network("127.0.0.0/8")]
    with dripping(b"", then) as port:
        began = monotonic()
        outcome = sending.post(f"{scheme}://127.0.0.1:{port}/hook", b"{}", {}, within=WITHIN)
        took = monotonic() - began
    assert outcome.error == f"127.0.0.1:{port} did not answer within 0.4 s.", "which counts as a failure"
    assert WITHIN <= took < WITHIN + 2


def test_a_status_that_came_in_time_holds_though_its_body_drips(settings: Any) -> None:
    settings.NOTIFY_NETWORKS = [ip_network("127.0.0.0/8")]
    with dripping(b"HTTP/1.1 410 Gone\r\n\r\n", b"moved") as port:
        outcome = sending.post(f"http://127.0.0.1:{port}/hook", b"{}", {}, within=WITHIN)
    assert outcome.gone
    assert "410 Gone: mov" in outcome.error


def test_a_sender_is_done_long_before_others_may_take_its_lane() -> None:
    assert outbox.LEASE.total_seconds() > 2 * sending.SECONDS
