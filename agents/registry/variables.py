"""Variables of a prompt: `[variables]` gives `{{ name }}` in `[prompts]` its words.

Apart from the rest of a bundle because they are filled in where a run is told its assignment, not where a release is
published: an operator may change one for a time.
"""

import re
from typing import Any

from agents import errors
from agents.registry.declarations import alike

Json = dict[str, Any]
_PLACE = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,79}")
VERBATIM = "recorded"
"""The program whose prompts are somebody else's: whatever stands in them is what was said."""


def named(name: str) -> str:
    """A name that can stand in a prompt."""
    if not _NAME.fullmatch(name):
        raise ValueError("is no name of a variable; use letters, digits and _")
    return name


def check(bundle: Json) -> None:
    """Every variable that a prompt names is there, and every one that is there is named."""
    if bundle["program"] == VERBATIM:
        return
    known = bundle.get("variables") or {}
    used = {name: prompt for prompt, text in bundle["prompts"].items() for name in _PLACE.findall(text)}
    if unknown := next((name for name in used if name not in known), None):
        hint = alike(unknown, known) or f'Add {unknown} = "…" to it.'
        sentence = f"[prompts] {used[unknown]} names {{{{ {unknown} }}}}, which [variables] does not have. {hint}"
        raise errors.Invalid(sentence, field="prompts")
    if idle := next((name for name in known if name not in used), None):
        raise errors.Invalid(f"[variables] {idle} is named by no prompt; write {{{{ {idle} }}}}.", field="variables")


def filled(bundle: Json) -> Json:
    """The bundle as a program reads it: its prompts with their variables filled in."""
    known = bundle.get("variables")
    if not known:
        return bundle
    prompts = {name: _fill(text, known) for name, text in bundle.get("prompts", {}).items()}
    return {**bundle, "prompts": prompts}


def _fill(text: str, known: Json) -> str:
    return _PLACE.sub(lambda place: str(known.get(place[1], place[0])), text)
