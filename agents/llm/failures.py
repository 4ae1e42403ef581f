"""What can go wrong with a provider, in our words.

Kinds that pass, so that trying again can help: `rate_limited`, `overloaded`, `server`, `connection`, `timeout`,
`malformed` (an answer that cannot be read). Kinds that do not: `authentication`, `quota`, `not_found`,
`context_window`, `rejected`, `configuration` (on our side). `cancelled` is a person's wish.

A call that reached the provider and whose answer was lost or unreadable may be charged for (`billed`); one that was
refused is not. Imported by `providers` alone, so that the library is not loaded before it is needed.
"""

from pydantic_ai import exceptions as theirs

from agents import errors

LONGEST_QUOTE = 300
LOST_UPSTREAM = {408, 504, 524}
"""Answers of a gateway in between that did not hear from the model in time: the model may have worked all the same."""

# The first row that fits decides: narrower classes stand before wider ones.
KINDS: tuple[tuple[type[Exception], str, bool], ...] = (
    (theirs.ModelRateLimitError, "rate_limited", False),
    (theirs.ModelQuotaExceededError, "quota", True),
    (theirs.ModelUnavailableError, "overloaded", False),
    (theirs.ModelServerError, "server", False),
    (theirs.ModelTimeoutError, "timeout", False),
    (theirs.ModelConnectionError, "connection", False),
    (theirs.ModelAuthenticationError, "authentication", True),
    (theirs.ModelNotFoundError, "not_found", True),
    (theirs.ModelContextWindowExceededError, "context_window", True),
    (theirs.ModelRequestRejectedError, "rejected", True),
)
SENTENCES = {
    "rate_limited": "{model} gets too many requests",
    "quota": "The account that pays for {model} has nothing left",
    "overloaded": "{model} is overloaded",
    "server": "The server of {model} failed",
    "timeout": "The server of {model} did not answer in time",
    "connection": "The connection to the server of {model} failed",
    "authentication": "The provider does not accept our key for {model}",
    "not_found": "The provider knows no model {model} at this address",
    "context_window": "The conversation is too long for {model}",
    "rejected": "The provider of {model} rejected the request",
    "malformed": "The answer of {model} cannot be read",
}


def understood(error: Exception, model: str) -> errors.OutsideError:
    """An error of the library as one of ours: what kind it is, whether it passes, whether it may cost."""
    status = getattr(error, "status_code", None)
    kind, permanent = _kind(error, status)
    return errors.OutsideError(
        _sentence(error, kind, model, status),
        kind=kind,
        permanent=permanent,
        billed=_may_cost(error, kind, status),
        retry_after=getattr(error, "retry_after", None),
    )


def _kind(error: Exception, status: int | None) -> tuple[str, bool]:
    for known, kind, permanent in KINDS:
        if isinstance(error, known):
            return kind, permanent
    if status in LOST_UPSTREAM:
        return "timeout", False
    if status is not None:
        return "rejected", True
    return "malformed", False


def _may_cost(error: Exception, kind: str, status: int | None) -> bool:
    if kind in {"timeout", "connection"} and status is None:
        return getattr(error, "phase", None) not in {"pool", "connect"}
    return kind == "malformed" or status in LOST_UPSTREAM


def _sentence(error: Exception, kind: str, model: str, status: int | None) -> str:
    code = f" ({status})" if status else ""
    return f"{SENTENCES[kind].format(model=model)}{code}: {_quote(error)}"


def _quote(error: Exception) -> str:
    """The provider's own words, as far as they are of use."""
    body = getattr(error, "body", None)
    if isinstance(body, dict) and isinstance(body.get("error"), dict):
        body = body["error"]
    said = body.get("message") if isinstance(body, dict) else body
    words = " ".join(str(said or error).split())
    return words if len(words) <= LONGEST_QUOTE else f"{words[:LONGEST_QUOTE]}…"
