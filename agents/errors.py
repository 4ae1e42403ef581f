"""What can go wrong by the rules of the domain. The docstring is the message; one middleware and one API handler
translate it.

Bugs are not here: they crash. Failures of the outside world are `OutsideError`s and say whether trying again can
help.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agents.contracts import ModelAttempt


class DomainError(Exception):
    """This cannot be done."""

    status = 400
    code = "bad_request"

    def __init__(self, message: str = "", *, field: str = "") -> None:
        self.message = message or (type(self).__doc__ or "").strip()
        self.field = field
        super().__init__(self.message)


class Invalid(DomainError):
    """Something in what was sent is not right."""

    status = 422
    code = "invalid"


class Forbidden(DomainError):
    """You may not do this."""

    status = 403
    code = "forbidden"


class Missing(DomainError):
    """There is nothing here that you can see."""

    status = 404
    code = "not_found"


class Conflict(DomainError):
    """Someone else changed this first. Reload and look again."""

    status = 409
    code = "conflict"


class Moved(Conflict):
    """This is no longer what a person let through; it has to be asked again."""


class Fenced(Exception):
    """Another driver holds this run now; nothing this one does may be stored."""


class Stopped(Exception):
    """This process ends; the step in flight is given up as it stands, and the next driver decides about it."""


class OutsideError(Exception):
    """The outside world failed: a model, a tool, a server.

    `permanent`: the same request would fail again. `billed`: the other side may have charged for it.
    `retry_after`: seconds it asked us to wait, if it said. `attempts`: every try at a model, where one was asked.
    """

    attempts: "Sequence[ModelAttempt]" = ()

    def __init__(
        self, message: str, *, kind: str, permanent: bool, billed: bool = False, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.kind, self.permanent, self.billed, self.retry_after = kind, permanent, billed, retry_after


class Aborted(OutsideError):
    """A person cancelled while the call was in flight, or the process ends."""

    def __init__(self, message: str = "cancelled while in flight", *, billed: bool = True) -> None:
        super().__init__(message, kind="cancelled", permanent=True, billed=billed)


class NoCapacity(OutsideError):
    """There is no room for another call now; nothing was sent. After `retry_after` seconds it is worth asking again."""

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message, kind="capacity", permanent=False, retry_after=retry_after)


class AskPerson(OutsideError):
    """No model answered, and the chain ends with a person: `attempts` say why, `retry_after` when a model might."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message, kind="person", permanent=True, retry_after=retry_after)
