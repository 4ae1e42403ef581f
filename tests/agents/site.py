"""A building site for runs: tools that write down what they did, and a driver's fate, which strikes at a chosen place.

A driver meets these places: `asked` (its program is asked), `before` and `after` an act, `reading`, `holding` (inside
the transaction that holds a step), `letting go` (inside the one that gives the run back). To die is to be gone from
there on, as in a killed process: no line of it is run any more. To sleep is to stand still there, as in a stopped one,
until woken.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from agents.contracts import Assignment, Event, Finish, Turn, UseTool
from agents.runs import runner
from agents.tools.catalogue import tool
from agents.tools.context import ToolContext, ToolError
from approvals.models import Approval

SLEEPY = {"asked", "before", "after", "reading"}
DEADLY = SLEEPY | {"holding", "letting go"}  # nobody sleeps there: a transaction is open, which the server would end
MOST_S = 30.0


class KilledError(BaseException):
    """This driver is no more."""


@dataclass
class Fate:
    """Strikes at the n-th place that the driver meets."""

    nth: int
    sleeps: bool = False
    place: str = ""
    asleep: threading.Event = field(default_factory=threading.Event)
    woken: threading.Event = field(default_factory=threading.Event)

    def meet(self, place: str) -> None:
        """Pass a place, or die there, or stand still there until woken."""
        if place not in (SLEEPY if self.sleeps else DEADLY):
            return
        self.nth -= 1
        if self.nth:
            return
        self.place = place
        if not self.sleeps:
            raise KilledError
        self.asleep.set()
        assert self.woken.wait(MOST_S), "nobody woke this driver"


@dataclass(frozen=True)
class Deed:
    """Something that happened outside. `allowed`: what a person had let through by then; None: nobody was asked."""

    what: str
    run_id: UUID
    seq: int
    key: str
    text: str
    allowed: list[str] | None = None


begun: list[str] = []  # every use of a tool, by its name
deeds: list[Deed] = []
_mine = threading.local()


def meet(place: str) -> None:
    """The driver of this thread passes a place."""
    fate: Fate | None = getattr(_mine, "fate", None)
    if fate:
        fate.meet(place)


def drive(run_id: UUID, fate: Fate | None = None) -> None:
    """Drive a run in this thread, as far as fate allows."""
    _mine.fate = fate
    try:
        runner.drive(run_id)
    except KilledError:
        pass
    finally:
        _mine.fate = None


class Sleeper(threading.Thread):
    """A driver in a thread of its own, which stands still where its fate wants it to."""

    def __init__(self, run_id: UUID, fate: Fate) -> None:
        super().__init__(name=f"driver of {run_id}", daemon=True)
        self.run_id, self.fate = run_id, fate
        self.token = 0
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            drive(self.run_id, self.fate)
        except BaseException as error:
            self.error = error

    def settle(self) -> bool:
        """Wait until it sleeps or has ended; whether it sleeps."""
        while self.is_alive() and not self.fate.asleep.wait(0.002):
            pass
        return self.fate.asleep.is_set()

    def wake(self) -> None:
        """Let it go on to its end."""
        self.fate.woken.set()
        self.join(MOST_S)
        assert not self.is_alive()
        if self.error:
            raise self.error


class Shift:
    """The program: `bundle.turns` lists what to do together, one list for each turn; failures and refusals are data."""

    def next(self, assignment: Assignment, history: Sequence[Event]) -> Turn:
        meet("asked")
        turns = assignment.bundle["turns"]
        taken = len({event.turn for event in history})
        if taken == len(turns):
            return [Finish(result={"steps": len(history)})]
        return [UseTool(f"site.{what}", {"text": f"{taken}.{place}"}) for place, what in enumerate(turns[taken])]


def _act(what: str, context: ToolContext, text: str, allowed: list[str] | None = None) -> dict[str, Any]:
    begun.append(what)
    if what != "post":
        meet("before")  # whoever sleeps here acts late; where no key says so, nobody could find that out
    deeds.append(Deed(what, context.run_id, context.seq, context.idempotency_key, text, allowed))
    meet("after")
    return {"text": text}


def _says(text: str) -> str:
    return f"Do {text}"


def _touches(text: str) -> list[Any]:
    return []


@tool("site.read", tier=1, timeout=None)
def read(context: ToolContext, text: str) -> dict[str, Any]:
    """Change nothing."""
    begun.append("read")
    meet("reading")
    return {"text": text}


@tool("site.fail", tier=1, timeout=None)
def fail(context: ToolContext, text: str) -> None:
    """Fail, which is news for the program."""
    begun.append("fail")
    raise ToolError("no van", kind="carrier_down")


@tool("site.note", tier=1, writes=True, idempotent=True, timeout=None, says=_says, touches=_touches)
def note(context: ToolContext, text: str) -> dict[str, Any]:
    """Act under a key."""
    return _act("note", context, text)


@tool("site.post", tier=1, writes=True, timeout=None, says=_says, touches=_touches)
def post(context: ToolContext, text: str) -> dict[str, Any]:
    """Act where keys are not known."""
    return _act("post", context, text)


@tool("site.pay", tier=3, writes=True, idempotent=True, timeout=None, says=_says, touches=_touches)
def pay(context: ToolContext, text: str) -> dict[str, Any]:
    """Act once a person has let it through."""
    answered = Approval.objects.of_step(context.run_id, context.seq).filter(state__in=Approval.ALLOWING)
    texts = [(one.decisions.latest("at").arguments or one.arguments)["text"] for one in answered]
    return _act("pay", context, text, texts)
