"""What a page posts, read into what the verb takes. The API does the same with JSON."""

import json
from typing import Any, TypedDict
from uuid import UUID

from django.http import QueryDict

from agents import errors
from agents.contracts import Json
from agents.pages import request_id
from approvals import editing, fields, replying, voting
from approvals.models import Approval, Decision


class Given(TypedDict):
    """The arguments of `decisions.decide` that a person chooses."""

    answer: str
    reason: str
    code: str
    request_id: UUID
    arguments: Json | None
    outcome: Any
    digest: str
    for_run: bool


def read(posted: QueryDict, approval: Approval) -> Given:
    """A decision form. Fields that belong to other answers are left aside: the page shows them side by side."""
    answer = posted.get("answer", "")
    if not answer:
        raise errors.Invalid("Choose an answer first.", field="answer")
    return {
        "answer": answer,
        "reason": posted.get("reason", ""),
        "code": posted.get("code", "") if answer == Decision.Answer.REJECT else "",
        "request_id": request_id(posted),
        "arguments": _arguments(posted, approval) if answer == Decision.Answer.EDIT else None,
        "outcome": _outcome(posted, approval) if answer == Decision.Answer.OUTCOME else None,
        "digest": posted.get("digest", ""),
        "for_run": "for_run" in posted and answer in (Decision.Answer.APPROVE, Decision.Answer.EDIT),
    }


def _outcome(posted: QueryDict, approval: Approval) -> Json:
    """What a person did or found; to a question of the agent's, their words, or the option they chose."""
    text = posted.get("outcome", "")
    if approval.kind == Approval.Kind.QUESTION:
        return {replying.KEY: text.strip() or posted.get("option", "")}
    return outcome(text)


def outcome(text: str) -> Json:
    """What a person posts: a JSON object as it is, anything else as a sentence."""
    text = text.strip()
    try:
        found = json.loads(text, parse_constant=_refuse)
    except ValueError:
        found = None
    if isinstance(found, dict):
        return found
    return {"outcome": text} if text else {}


def _arguments(posted: QueryDict, approval: Approval) -> Json:
    """The fields of a form, or all of it as one JSON object in `arguments`."""
    if "arguments" in posted or not editing.has_form(approval):
        return _object(posted.get("arguments", ""))
    given = {name: str(value) for name, value in posted.items()}
    edited = voting.ballot(approval).arguments
    asked = approval.arguments if edited is None else edited
    return fields.read(editing.form_of(approval, asked), given, asked)


def _object(text: str) -> Json:
    try:
        found = json.loads(text, parse_constant=_refuse)
    except ValueError as error:
        raise errors.Invalid(f"The arguments are not JSON: {error}.", field="arguments") from None
    if not isinstance(found, dict):
        raise errors.Invalid('The arguments must be a JSON object such as {"amount": "92.00"}.', field="arguments")
    return found


def _refuse(constant: str) -> None:
    """Python reads NaN and Infinity, which are not JSON."""
    raise ValueError(f"{constant} is not a number in JSON")
