"""One sentence for everything that can be wrong with a request: what, where, and what would be right.

Apart from `api.py` because it is a translation and nothing else: pydantic's findings in, a domain error out.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from agents import errors

Finding = Mapping[str, Any]  # pydantic's ErrorDetails

SENTENCES: dict[str, Callable[[Finding], str]] = {
    "missing": lambda it: "is required",
    "enum": lambda it: f"cannot be {_said(it)}; it can be {_listed(it)}",
    "literal_error": lambda it: f"cannot be {_said(it)}; it can be {_listed(it)}",
    "int_parsing": lambda it: f"must be a whole number, not {_said(it)}",
    "int_type": lambda it: f"must be a whole number, not {_said(it)}",
    "greater_than_equal": lambda it: f"must be {it['ctx']['ge']} or more, not {_said(it)}",
    "less_than_equal": lambda it: f"must be {it['ctx']['le']} or less, not {_said(it)}",
    "bool_parsing": lambda it: f"must be true or false, not {_said(it)}",
    "bool_type": lambda it: f"must be true or false, not {_said(it)}",
    "string_type": lambda it: f"must be a text, not {_said(it)}",
    "string_too_short": lambda it: "is empty; leave it out, or say what is wanted",
    "string_too_long": lambda it: f"is too long; {it['ctx']['max_length']} characters are the most",
    "dict_type": lambda it: f"must be a JSON object, not {_said(it)}",
    "uuid_type": lambda it: f"must be a UUID, not {_said(it)}",
    "uuid_parsing": lambda it: f"must be a UUID, not {_said(it)}",
    "value_error": lambda it: str(it["ctx"]["error"]),
}


def refusal(found: Sequence[Finding], *, source: str, takes: list[str]) -> errors.DomainError:
    """The first thing to put right. A misspelt field comes first: it explains the one that is missing.

    `source` is path, query or body; `takes` are the names that this door knows there.
    """
    finding = min(found, key=lambda it: it["type"] != "extra_forbidden")
    if source == "path":
        return errors.Missing()
    # The first part is the name of the function's argument; numbers are places in a filter's list.
    field = ".".join(part for part in finding["loc"][1:] if isinstance(part, str))
    if finding["type"] == "extra_forbidden":
        return unknown(field, takes)
    if not field:
        fields = f" with {_among(takes)}" if takes else ""
        return errors.Invalid(f"The body must be a JSON object{fields}.")
    say = SENTENCES.get(finding["type"])
    sentence = say(finding) if say else f"is not right: {finding['msg']}"
    return errors.Invalid(f"`{field}` {sentence}.", field=field)


def unknown(name: str, takes: list[str]) -> errors.Invalid:
    """A parameter or field that nobody knows is refused: it was meant to do something."""
    known = f"this takes {_among(takes)}" if takes else "this takes none"
    return errors.Invalid(f"`{name}` is not known here; {known}.", field=name)


def body_fields(model: type[BaseModel]) -> list[str]:
    """The field names of the body that an operation reads, whether it may be left out or not."""
    for field in model.model_fields.values():
        kinds = get_args(field.annotation) if get_origin(field.annotation) is not None else (field.annotation,)
        for kind in kinds:
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                return list(kind.model_fields)
    return []


def _said(finding: Finding) -> str:
    """What was sent, shortened."""
    text = json.dumps(finding.get("input"), ensure_ascii=False, default=str)
    return text if len(text) <= 80 else f"{text[:79]}…"


def _listed(finding: Finding) -> str:
    return str(finding["ctx"]["expected"]).replace("'", "")


def _among(names: list[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
