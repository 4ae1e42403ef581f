"""Policies as the form of a page gives them: texts in fields, files beside them, and each mistake named.

Apart from the view because it knows no page, and from `publishing` because that takes what is complete.
"""

import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.core.files.uploadedfile import UploadedFile

from agents import errors
from agents.contracts import Json
from approvals.policies import cases, publishing, speaking
from approvals.policies.models import PolicySet

POLICIES, CASES = ".cedar", ".toml"
EMPTY = {"policies.cedar": "", "cases.toml": ""}
MOST_FILES, MOST_BYTES = 30, 256 * 1024


@dataclass(frozen=True, slots=True)
class Draft:
    """What somebody has written so far: texts by the name of their file, and a version whose cases are kept.
    `problems` are what is wrong with it, a sentence each."""

    texts: dict[str, str]
    kept: PolicySet | None = None
    problems: list[str] = field(default_factory=list)

    @property
    def fields(self) -> list[tuple[str, str]]:
        """A field for each file, policies first, and always one for each kind."""
        shown = dict(self.texts)
        for kind, name in zip((POLICIES, CASES), EMPTY, strict=True):
            if not any(one.endswith(kind) for one in shown):
                shown[name] = ""
        return sorted(shown.items(), key=lambda one: (one[0].endswith(CASES), one[0]))

    def content(self) -> tuple[dict[str, str], list[Json]]:
        """Policies and cases, as `publishing` takes them. Raises `errors.Invalid` that names whatever is wrong."""
        problems = list(self.problems)
        found: list[Json] = list(self.kept.cases) if self.kept else []
        for name, text in self.texts.items():
            if name.endswith(CASES):
                try:
                    found += cases.read(tomllib.loads(text), name)
                except tomllib.TOMLDecodeError as error:
                    problems.append(f"{name}: this is not TOML: {error}.")
                except errors.Invalid as error:
                    problems.append(error.message)
        policies = {name: text for name, text in self.texts.items() if name.endswith(POLICIES)}
        if problems:  # whoever corrects one of them reads of the others too
            raise errors.Invalid("\n".join([*_wrong(policies), *problems]), field="policies")
        return policies, found


def begun(origin: PolicySet | None) -> Draft:
    """To begin with: the files of a version and its cases, or nothing."""
    return Draft(dict(origin.files), origin) if origin else Draft({})


def written(
    names: Sequence[str], texts: Sequence[str], uploads: "Iterable[UploadedFile[Any]]", kept: PolicySet | None
) -> Draft:
    """What a form gave. A file goes before the field of its name; what is empty is left out."""
    fields = zip(names, texts, strict=False)
    given = {name: text.replace("\r\n", "\n") for name, text in fields if text.strip()}
    problems: list[str] = []
    given |= dict(_read(uploads, problems))
    problems += _misnamed(given)
    return Draft(given, kept, problems)


def _read(uploads: "Iterable[UploadedFile[Any]]", problems: list[str]) -> Iterator[tuple[str, str]]:
    """Each file that is text; of the others, what is wrong."""
    for number, file in enumerate(uploads, 1):
        name = file.name or f"file {number}"
        if number > MOST_FILES:
            problems.append(f"There are more than {MOST_FILES} files; {name} and those after it were not read.")
            return
        if (file.size or 0) > MOST_BYTES:
            problems.append(f"{name} is larger than {MOST_BYTES // 1024} KiB, which no file of policies may be.")
            continue
        try:
            yield name, file.read().decode("utf-8-sig").replace("\r\n", "\n")
        except UnicodeDecodeError:
            problems.append(f"{name} is not text in UTF-8.")


def _wrong(policies: Mapping[str, str]) -> list[str]:
    """What is wrong with policies whose cases cannot be read."""
    try:
        publishing.built(policies, speaking.now())
    except errors.Invalid as error:
        return error.message.splitlines()
    return []


def _misnamed(given: Mapping[str, str]) -> list[str]:
    wrong = [name for name in given if not name.endswith((POLICIES, CASES))]
    return [f"{name}: policies end with {POLICIES}, their cases with {CASES}." for name in wrong]
