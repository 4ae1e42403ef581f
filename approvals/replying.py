"""Answering what an agent asks: words, or one of the options it gave. Nothing is done with an answer but read."""

from typing import Any

from agents import errors
from agents.contracts import Json
from approvals.models import Approval

KEY, LONGEST = "answer", 10_000


def options(approval: Approval) -> list[str]:
    """What the agent offers to choose from; one may always answer in other words."""
    return list(approval.arguments.get("options") or ())


def reply(outcome: Any) -> Json:
    """The answer as the agent reads it, `{"answer": text}`, out of a text or of exactly that."""
    text = outcome.get(KEY) if isinstance(outcome, dict) and outcome.keys() <= {KEY} else outcome
    if not isinstance(text, str) or not text.strip():
        raise errors.Invalid('Answer in words: a text, or {"answer": "…"}.', field="outcome")
    if len(text) > LONGEST:
        raise errors.Invalid(f"Answer in at most {LONGEST:,} characters; these are {len(text):,}.", field="outcome")
    return {KEY: text.strip()}
