"""The world outside: tools that write down what they did, the ways they fail, and the program that uses them.

Every tool runs on its driver's own thread, so that a fate which strikes the driver strikes it there as well.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from agents.contracts import AskModel, Assignment, Event, Finish, Turn, UseTool, Wait
from agents.tools.catalogue import tool
from agents.tools.context import ToolContext, ToolError
from approvals.models import Approval

LATER = datetime(2100, 1, 1, tzinfo=UTC)
READS = ["read", "fail", "blink"]
KEYED = ["note", "lose", "pay", "order"]
UNKEYED = ["post", "mail", "miss", "busy", "send", "rent"]
BACK = {"order": "cancel", "rent": "give_back"}
"""What takes an act back."""
ASSISTED = {"pay", "send", "give_back"}
TOOLS = [*READS, *KEYED, *UNKEYED, "letter"]


@dataclass(frozen=True)
class Deed:
    """Something that happened outside. `allowed`: what people had let through by then; None: nobody was asked."""

    what: str
    run_id: UUID
    seq: int
    key: str
    text: str
    allowed: list[str] | None = None


deeds: list[Deed] = []
tries: Counter[str] = Counter()


def forget() -> None:
    """A world in which nothing has happened yet."""
    deeds.clear()
    tries.clear()


def deeds_of(run_id: UUID, seq: int) -> list[Deed]:
    """What one step did outside."""
    return [deed for deed in deeds if (deed.run_id, deed.seq) == (run_id, seq)]


class Shift:
    """The program: `bundle.turns` lists what to do together, one list for each turn; failures and refusals are data."""

    def next(self, assignment: Assignment, history: Sequence[Event]) -> Turn:
        turns = assignment.bundle["turns"]
        taken = len({event.turn for event in history})
        if taken == len(turns):
            return [Finish(result={"steps": len(history)})]
        return [self._ask(what, f"{taken}.{place}") for place, what in enumerate(turns[taken])]

    def _ask(self, what: str, text: str) -> UseTool | AskModel | Wait:
        if what == "wait":
            return Wait(LATER, why="the shop is closed")
        if what == "model":
            message = {"role": "user", "parts": [{"type": "text", "content": text}]}
            return AskModel(messages=[message], settings={"simulated": {"latency_ms": [0, 0]}})
        return UseTool(f"world.{what}", {"text": text})


def _act(what: str, context: ToolContext, text: str) -> dict[str, Any]:
    deeds.append(Deed(what, context.run_id, context.seq, context.idempotency_key, text, _allowed(what, context)))
    return {"text": text}


def _allowed(what: str, context: ToolContext) -> list[str] | None:
    if what not in ASSISTED:
        return None
    answered = Approval.objects.of_step(context.run_id, context.seq).filter(state__in=Approval.ALLOWING)
    return [(one.decisions.latest("at").arguments or one.arguments)["text"] for one in answered]


def _is_first(context: ToolContext) -> bool:
    """Whether nobody has tried under this key before."""
    tries[context.idempotency_key] += 1
    return tries[context.idempotency_key] == 1


def _says(text: str) -> str:
    return f"Do {text}"


def _touches(text: str) -> list[Any]:
    return []


WRITE: dict[str, Any] = {"writes": True, "timeout": None, "says": _says, "touches": _touches}


@tool("world.read", tier=1, timeout=None)
def read(text: str) -> dict[str, Any]:
    """Change nothing."""
    return {"text": text}


@tool("world.fail", tier=1, timeout=None)
def fail(text: str) -> None:
    """Fail, which is news for the program."""
    raise ToolError("no van", kind="carrier_down")


@tool("world.blink", tier=1, timeout=None)
def blink(context: ToolContext, text: str) -> dict[str, Any]:
    """Be away the first time."""
    if _is_first(context):
        raise ToolError("closed for a moment", kind="overloaded", permanent=False)
    return {"text": text}


@tool("world.note", tier=1, idempotent=True, **WRITE)
def note(context: ToolContext, text: str) -> dict[str, Any]:
    """Act under a key."""
    return _act("note", context, text)


@tool("world.lose", tier=1, idempotent=True, **WRITE)
def lose(context: ToolContext, text: str) -> dict[str, Any]:
    """Act under a key; the first answer is lost on its way."""
    is_first = _is_first(context)
    done = _act("lose", context, text)
    if is_first:
        raise ConnectionResetError("the line broke")
    return done


@tool("world.pay", tier=3, idempotent=True, **WRITE)
def pay(context: ToolContext, text: str) -> dict[str, Any]:
    """Act under a key, once a person has let it through."""
    return _act("pay", context, text)


@tool("world.post", tier=1, **WRITE)
def post(context: ToolContext, text: str) -> dict[str, Any]:
    """Act where keys are not known."""
    return _act("post", context, text)


@tool("world.mail", tier=1, **WRITE)
def mail(context: ToolContext, text: str) -> dict[str, Any]:
    """Act where keys are not known, and lose the first answer."""
    is_first = _is_first(context)
    done = _act("mail", context, text)
    if is_first:
        raise ConnectionResetError("the line broke")
    return done


@tool("world.miss", tier=1, **WRITE)
def miss(context: ToolContext, text: str) -> dict[str, Any]:
    """Be too late the first time, without having acted: nobody who asked can know that."""
    if _is_first(context):
        raise TimeoutError("no answer")
    return _act("miss", context, text)


@tool("world.busy", tier=1, **WRITE)
def busy(context: ToolContext, text: str) -> dict[str, Any]:
    """Say the first time that there is too much to do, which is to say that nothing was done."""
    if _is_first(context):
        raise ToolError("too much to do", kind="overloaded", permanent=False)
    return _act("busy", context, text)


@tool("world.send", tier=3, **WRITE)
def send(context: ToolContext, text: str) -> dict[str, Any]:
    """Act where keys are not known, once a person has let it through."""
    return _act("send", context, text)


@tool("world.letter", tier=4, **WRITE)
def letter(context: ToolContext, text: str) -> dict[str, Any]:
    """What only a person may do; that it is done here at all is kept as well."""
    return _act("letter", context, text)


@tool("world.order", tier=1, idempotent=True, compensation="world.cancel", **WRITE)
def order(context: ToolContext, text: str) -> dict[str, Any]:
    """Act under a key, so that it can be taken back."""
    return _act("order", context, text)


@tool("world.cancel", tier=1, idempotent=True, **WRITE)
def cancel(context: ToolContext, text: str) -> dict[str, Any]:
    """Take an order back, under a key of its own."""
    return _act("cancel", context, text)


@tool("world.rent", tier=1, compensation="world.give_back", **WRITE)
def rent(context: ToolContext, text: str) -> dict[str, Any]:
    """Act where keys are not known; a person may let it be taken back."""
    return _act("rent", context, text)


@tool("world.give_back", tier=3, **WRITE)
def give_back(context: ToolContext, text: str) -> dict[str, Any]:
    """Take back what was rented, where keys are not known; the first time the door is locked."""
    if _is_first(context):
        raise ToolError("nobody opens", kind="locked")
    return _act("give_back", context, text)
