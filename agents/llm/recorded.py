"""A model that repeats what another one said: for tests and fixtures of a company, without a provider and without cost.

`{provider = "recorded", model = "refunds"}` answers from `recordings/refunds.jsonl` in the workspace: a line for each
question, `{"digest", "asked", "message", "response_model", "usage"}`, of which only digest and message are needed. The
digest is that of `kept`. Lines are written by asking real models with COCKPIT_RECORD_MODELS=refunds; the last one of
the same digest counts. A question that is not in the file is a failure that says so, never a guess.
"""

import json
import logging
import re
from dataclasses import asdict
from pathlib import Path

from django.conf import settings

from agents import errors
from agents.contracts import Json, ModelRequest, Usage
from agents.llm import conversation, kept
from agents.llm.answers import Said

log = logging.getLogger(__name__)

PROVIDER = "recorded"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
LONGEST_QUOTE = 120

_read: dict[Path, tuple[object, dict[str, Said]]] = {}


class RecordedModel:
    """One link of a chain; `model` names the recording."""

    def __init__(self, model: str) -> None:
        self.provider, self.model = PROVIDER, model

    async def answer(self, request: ModelRequest, *, attempt: int) -> Said:
        """What was said then. Raises `errors.OutsideError` where nothing was."""
        path = place(self.model)
        asked = kept.digest(request)
        if said := _answers(path).get(asked):
            return said
        raise errors.OutsideError(
            f"{path} has no answer to “{_quote(request)}” (digest {asked}). Record it: ask a real model with "
            f"COCKPIT_RECORD_MODELS={self.model}, or write a line with this digest and a message.",
            kind="not_recorded",
            permanent=True,
        )


def place(name: str) -> Path:
    """The file of a recording."""
    folder: Path | None = settings.WORKSPACE
    if folder is None:
        raise _misconfigured("Recordings of models are kept in the workspace: set COCKPIT_WORKSPACE.")
    if not NAME.fullmatch(name):
        raise _misconfigured(f"{name!r} names no recording: it takes letters, digits, dots, - and _.")
    return folder / "recordings" / f"{name}.jsonl"


def record(name: str, request: ModelRequest, said: Said) -> None:
    """Add an answer to a recording; one write, so that processes do not mix their lines. An answer that cannot be
    added is an answer all the same."""
    line = {
        "digest": kept.digest(request),
        "asked": _quote(request),
        "message": said.message,
        "response_model": said.response_model,
        "usage": asdict(said.usage),
    }
    try:
        path = place(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab", buffering=0) as file:
            file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
    except (OSError, errors.OutsideError) as error:
        log.error("an answer was not added to the recording %s: %s", name, error)


def _answers(path: Path) -> dict[str, Said]:
    """Every answer of a recording, by digest; read again when it has changed."""
    try:
        found = path.stat()
        mark, answers = _read.get(path, (None, {}))
        if mark != (found.st_mtime_ns, found.st_size):
            answers = _lines(path)
            _read[path] = ((found.st_mtime_ns, found.st_size), answers)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise _misconfigured(f"{path} cannot be read: {error.strerror}.") from error
    return answers


def _lines(path: Path) -> dict[str, Said]:
    answers = {}
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if text.strip():
            try:
                digest, said = _line(json.loads(text), path.stem)
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                wanted = '{"digest": "…", "message": {"role": "assistant", "parts": […]}}'
                raise _misconfigured(f"{path}, line {number} is not such as {wanted}: {error}.") from error
            answers[digest] = said
    return answers


def _line(line: Json, name: str) -> tuple[str, Said]:
    message = line["message"]
    if message["role"] != "assistant" or not isinstance(message["parts"], list):
        raise ValueError("the message is no assistant's")
    usage = Usage(**line["usage"]) if line.get("usage") else Usage()
    return str(line["digest"]), Said(message, line.get("response_model") or name, usage)


def _quote(request: ModelRequest) -> str:
    """The last thing that was said in words, so that a person finds the line."""
    words = next((text for message in reversed(request.messages) if (text := conversation.text_of(message))), "")
    return words if len(words) <= LONGEST_QUOTE else f"{words[:LONGEST_QUOTE]}…"


def _misconfigured(sentence: str) -> errors.OutsideError:
    return errors.OutsideError(sentence, kind="configuration", permanent=True)
