"""What is different between two versions of the policies: rules, cases, and the tools they can speak about."""

import difflib
from collections.abc import Iterator

from agents.contracts import Json
from approvals.policies import rules
from approvals.policies.models import PolicySet


def differences(before: PolicySet, after: PolicySet) -> Iterator[str]:
    """Line by line, as people read a change; nothing when the two are the same."""
    old, new = ({rule.id for rule in rules.read(one.text).values()} for one in (before, after))
    yield from (f"rule added: {name}" for name in sorted(new - old))
    yield from (f"rule removed: {name}" for name in sorted(old - new))
    for name in sorted(before.files.keys() | after.files.keys()):
        sides = before.files.get(name, "").splitlines(), after.files.get(name, "").splitlines()
        titles = f"{name} ({before.number})", f"{name} ({after.number})"
        yield from difflib.unified_diff(sides[0], sides[1], titles[0], titles[1], lineterm="")
    yield from _named("case", *({one["name"]: one for one in version.cases} for version in (before, after)))
    yield from _named("tool", before.surface["tools"], after.surface["tools"])


def _named(what: str, before: Json, after: Json) -> Iterator[str]:
    for name in sorted(before.keys() | after.keys()):
        if name not in before:
            yield f"{what} added: {name}"
        elif name not in after:
            yield f"{what} removed: {name}"
        elif before[name] != after[name]:
            yield f"{what} changed: {name}"
