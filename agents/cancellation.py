"""How a person's cancel, or the end of this process, reaches a call in flight: one flag per driven run, with callbacks
that abort what is waiting."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from agents import errors


class Cancellation:
    """Set once, never unset. Thread-safe."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], object]] = []
        self.is_stop = False

    @property
    def is_set(self) -> bool:
        """Whether a person cancelled this run, another driver took it, or this process ends (`is_stop`)."""
        return self._event.is_set()

    def set(self) -> None:
        """Abort what is in flight; safe from any thread, any number of times."""
        with self._lock:
            self._event.set()
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def stop(self) -> None:
        """Abort what is in flight because this process ends: the run is not cancelled, others go on with it."""
        self.is_stop = True
        self.set()

    def wait(self, seconds: float) -> bool:
        """Sleep, but wake at once when cancelled; True if it was."""
        return self._event.wait(seconds)

    def raise_if_set(self) -> None:
        """For tools that work in small pieces: stop between two of them."""
        if self.is_set:
            raise errors.Aborted()

    @contextmanager
    def aborting(self, callback: Callable[[], object]) -> Iterator[None]:
        """While inside, `callback` is called on cancel (at once when it is already set)."""
        with self._lock:
            fire = self._event.is_set()
            if not fire:
                self._callbacks.append(callback)
        if fire:
            callback()
        try:
            yield
        finally:
            with self._lock:
                if callback in self._callbacks:
                    self._callbacks.remove(callback)
