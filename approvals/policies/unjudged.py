"""Why policies could not judge an act, so that many that failed alike are told once: without the values of any of them.

Apart from the engine, which keeps what Cedar says as it says it, for the log.
"""

import re
from dataclasses import dataclass, field
from uuid import UUID

from approvals.policies.engine import Decision

FEW = 3
ARGUMENTS = re.compile(r"its arguments cannot be judged \((.*)\)", re.DOTALL)
MISSING = re.compile(r"expected the record to have an attribute `(\w+?)(_minor)?`")
VALUES = re.compile(r"`\{.*?\}`", re.DOTALL)

MOST = 20
OTHER = "other reasons"
"""Of so many reasons each is told; what comes after that is counted together."""


@dataclass(frozen=True, slots=True)
class Example:
    """A real step, what became of it, and what the version says of it."""

    run_id: UUID
    seq: int
    agent: str
    name: str
    says: str
    was: str
    decision: Decision


@dataclass(slots=True)
class Unjudged:
    """Acts with one tool that could not be judged for one reason: how many, and the first few of them."""

    name: str
    why: str
    times: int = 0
    examples: list[Example] = field(default_factory=list)

    def add(self, example: Example) -> None:
        """One more."""
        self.times += 1
        if len(self.examples) < FEW:
            self.examples.append(example)


def why(decision: Decision) -> str:
    """In words that do not depend on this act's values; empty where it was judged."""
    if not decision.errors:
        return ""
    if found := ARGUMENTS.fullmatch(decision.errors[0]):
        return found[1]
    if found := MISSING.search(decision.errors[0]):
        return f"{found[1]} is missing"
    return VALUES.sub("`…`", decision.errors[0])


def place(groups: dict[tuple[str, str], Unjudged], name: str, reason: str) -> Unjudged:
    """The group of this tool and reason, made where it is the first."""
    key = (name, reason)
    if key not in groups and len(groups) >= MOST:
        key = ("", OTHER)
    return groups.setdefault(key, Unjudged(*key))
