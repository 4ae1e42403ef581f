"""Declaring tools and using them: what models read, what is refused in words, and every way a use can end."""

import asyncio
import subprocess
import sys
import threading
import time
import timeit
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field
from uuid_utils.compat import uuid7

from agents import errors
from agents.cancellation import Cancellation
from agents.tools import ToolContext, ToolError, Touched, catalogue, tool
from agents.tools.checking import validate
from agents.tools.invocation import describe, invoke, preview, touched

Amount = Annotated[Decimal, Field(gt=0)]


@dataclass
class Line:
    sku: str
    bags: int


@tool(
    "testshop.refund",
    tier=3,
    writes=True,
    idempotent=True,
    compensation="testshop.recharge",
    undoable_for=timedelta(hours=24),
    says=lambda order, amount, currency: f"Refund {amount} {currency} of order {order}",
    touches=lambda order, amount, **others: [Touched("order", order, "Café Ulmer", amount, others["currency"])],
    preview=lambda amount: [{"what": "paid", "before": Decimal("40.00"), "after": Decimal("40.00") - amount}],
)
def refund(
    context: ToolContext, order: str, amount: Amount, currency: Literal["EUR", "USD"] = "EUR", on: date | None = None
) -> dict[str, Any]:
    """Give money back for an order.

    order: the order number, as `B-1042`
    """
    return {"order": order, "refunded": amount, "currency": currency, "on": on, "key": context.idempotency_key}


@tool("testshop.pack", tier=1, timeout=None)
def pack(lines: Annotated[list[Line], "what goes into the box"], fragile: bool = False) -> int:
    """Count the bags of a parcel."""
    return sum(line.bags for line in lines)


@tool("testshop.length", tier=1, timeout=None)
def length(text: str) -> int:
    """Count characters."""
    return len(text)


@pytest.fixture
def context() -> ToolContext:
    return ToolContext(
        run_id=uuid7(),
        seq=3,
        attempt=1,
        idempotency_key="run:3",
        environment="live",
        agent="desk",
        team_id=uuid7(),
        seed=7,
        cancellation=Cancellation(),
    )


@pytest.fixture
def cancelled_soon(context: ToolContext) -> Iterator[ToolContext]:
    timer = threading.Timer(0.1, context.cancellation.set)
    timer.start()
    yield context
    timer.join()


# --- what a model reads ----------------------------------------------------------------------------------------------
def test_a_signature_and_its_docstring_become_the_schema_that_a_model_reads():
    spec = catalogue.get("testshop.refund")
    assert spec.description == "Give money back for an order."
    assert spec.schema == {
        "type": "object",
        "additionalProperties": False,
        "required": ["order", "amount"],
        "properties": {
            "order": {"type": "string", "description": "the order number, as `B-1042`"},
            "amount": {"type": ["number", "string"], "pattern": r"^-?\d+(\.\d+)?$", "exclusiveMinimum": 0.0},
            "currency": {"type": "string", "enum": ["EUR", "USD"], "default": "EUR"},
            "on": {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}], "default": None},
        },
    }


def test_a_parameter_may_be_called_like_anything_python_or_pydantic_uses_itself():
    @tool("testshop.names", tier=1, timeout=None)
    def names(title: str, schema: str, copy: bool, model_id: int) -> list[Any]:
        return [title, schema, copy, model_id]

    spec = catalogue.get("testshop.names")
    assert list(spec.schema["properties"]) == ["title", "schema", "copy", "model_id"]
    assert validate(spec, {"title": "a", "schema": "b", "copy": True, "model_id": 1})["model_id"] == 1


def test_a_signature_that_no_model_could_fill_in_is_refused_where_it_is_written():
    with pytest.raises(TypeError, match="the parameter order has no type"):

        @tool("testshop.untyped", tier=1)
        def untyped(order):
            return order

    with pytest.raises(TypeError, match=r"\*\*rest.* cannot be described to a model"):

        @tool("testshop.loose", tier=1)
        def loose(**rest: str) -> None: ...


def test_a_name_that_is_taken_is_refused_with_both_places():
    with pytest.raises(errors.Conflict) as refused:

        @tool("testshop.length", tier=1)
        def again(text: str) -> int:
            return 0

    assert refused.value.message.count("test_tools.py:") == 2
    assert catalogue.get("testshop.length").function is length


def test_an_unknown_tool_is_answered_with_one_that_looks_like_it():
    with pytest.raises(errors.Missing, match=r"no tool called 'testshop\.refnd'\. Did you mean testshop\.refund"):
        catalogue.get("testshop.refnd")


# --- arguments -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"amount": 5}, "order is missing; it takes text."),
        ({"order": "B-1", "amount": "a lot"}, 'amount is "a lot"; it must be text that matches ^-?\\d+(\\.\\d+)?$.'),
        ({"order": "B-1", "amount": True}, "amount is true; it takes a number."),
        ({"order": "B-1", "amount": 0}, "amount is 0; it must be more than 0.0."),
        ({"order": "B-1", "amount": "-3"}, 'amount is "-3"; input should be greater than 0.'),
        ({"order": 1042, "amount": 5}, "order is 1042; it takes text."),
        ({"order": "B-1", "amount": 5, "currency": "GBP"}, 'currency is "GBP"; it takes "EUR" or "USD".'),
        ({"order": "B-1", "amount": 5, "on": "May"}, 'on is "May"; it takes a date such as 2026-03-31 or null.'),
        ({"order": "B-1", "amout": 5, "amount": 5}, "there is no argument 'amout'. Did you mean amount?"),
    ],
)
def test_arguments_that_do_not_fit_get_one_sentence(arguments, sentence):
    with pytest.raises(errors.Invalid) as refused:
        validate(catalogue.get("testshop.refund"), arguments)
    assert refused.value.message == f"testshop.refund: {sentence}"


def test_a_mistake_deep_inside_is_named_by_its_path():
    with pytest.raises(errors.Invalid) as refused:
        validate(catalogue.get("testshop.pack"), {"lines": [{"sku": "a", "bags": 1}, {"sku": "b", "bags": "two"}]})
    assert refused.value.message == 'testshop.pack: lines[1].bags is "two"; it takes a whole number.'
    assert refused.value.field == "lines[1].bags"
    with pytest.raises(errors.Invalid, match=r"bags is missing in lines\[0\]; it takes a whole number"):
        validate(catalogue.get("testshop.pack"), {"lines": [{"sku": "a"}]})


@pytest.mark.parametrize("sent", [["B-1"], "B-1", None, 7])
def test_arguments_that_are_no_object_at_all_are_refused(sent):
    with pytest.raises(errors.Invalid, match="takes its arguments as an object"):
        validate(catalogue.get("testshop.refund"), sent)


def test_defaults_are_filled_in_so_that_a_reviewer_sees_all_that_will_happen():
    given = validate(catalogue.get("testshop.refund"), {"order": "B-1", "amount": "12.50"})
    assert given == {"order": "B-1", "amount": "12.50", "currency": "EUR", "on": None}


def test_a_whole_number_written_with_a_point_is_a_whole_number(context):
    spec = catalogue.get("testshop.pack")
    assert invoke(spec, validate(spec, {"lines": [{"sku": "a", "bags": 5.0}]}), context) == 5


def test_a_tool_gets_the_types_it_asked_for_and_answers_in_json(context):
    spec = catalogue.get("testshop.refund")
    given = validate(spec, {"order": "B-1", "amount": 12.1, "on": "2026-03-31"})
    assert invoke(spec, given, context) == {
        "order": "B-1",
        "refunded": "12.1",
        "currency": "EUR",
        "on": "2026-03-31",
        "key": "run:3",
    }


# --- what an act says of itself --------------------------------------------------------------------------------------
def test_a_write_says_what_it_does_to_which_records_and_what_will_be_different():
    spec = catalogue.get("testshop.refund")
    given = validate(spec, {"order": "B-1", "amount": "12.50"})
    assert describe(spec, given) == "Refund 12.50 EUR of order B-1"
    assert touched(spec, given) == [Touched("order", "B-1", "Café Ulmer", Decimal("12.50"), "EUR")]
    assert preview(spec, given) == [{"what": "paid", "before": "40.00", "after": "27.50"}]


def test_an_act_that_its_tool_cannot_describe_fails_instead_of_being_done_blindly():
    @tool("testshop.mute", tier=2, writes=True, says=lambda order: {}[order], touches=lambda: None)
    def mute(order: str) -> None: ...

    spec = catalogue.get("testshop.mute")
    with pytest.raises(errors.OutsideError, match="`says` failed with KeyError: 'B-1'"):
        describe(spec, {"order": "B-1"})
    with pytest.raises(errors.OutsideError, match="`touches` failed with TypeError"):
        touched(spec, {"order": "B-1"})


# --- every way a use can end -----------------------------------------------------------------------------------------
def test_an_asynchronous_tool_that_takes_too_long_is_really_cancelled(context):
    stopped = threading.Event()

    @tool("testshop.sleep_async", tier=1, timeout=timedelta(seconds=0.05))
    async def sleep() -> None:
        try:
            await asyncio.sleep(30)
        finally:
            stopped.set()

    with pytest.raises(errors.OutsideError, match=r"did not answer within 0\.05 s") as failed:
        invoke(catalogue.get("testshop.sleep_async"), {}, context)
    assert (failed.value.kind, failed.value.permanent) == ("timeout", False)
    assert stopped.wait(2)


def test_a_synchronous_tool_that_takes_too_long_is_abandoned_and_its_answer_dropped(context):
    let_go, said = threading.Event(), []

    @tool("testshop.sleep", tier=1, timeout=timedelta(seconds=0.05))
    def sleep(word: str) -> str:
        if word == "slow":
            let_go.wait(10)
        said.append(word)
        return word

    spec = catalogue.get("testshop.sleep")
    with pytest.raises(errors.OutsideError) as failed:
        invoke(spec, {"word": "slow"}, context)
    assert failed.value.kind == "timeout"
    assert invoke(spec, {"word": "quick"}, context) == "quick"
    let_go.set()
    assert invoke(spec, {"word": "next"}, context) == "next"
    while len(said) < 3:
        time.sleep(0.01)
    assert sorted(said) == ["next", "quick", "slow"]


@pytest.mark.parametrize("is_async", [True, False])
def test_a_persons_cancel_reaches_a_tool_in_flight(cancelled_soon, is_async):
    async def slow_async() -> None:
        await asyncio.sleep(30)

    def slow() -> None:
        time.sleep(3)

    name = f"testshop.cancelled_{is_async}"
    tool(name, tier=1)(slow_async if is_async else slow)
    started = time.monotonic()
    with pytest.raises(errors.Aborted):
        invoke(catalogue.get(name), {}, cancelled_soon)
    assert time.monotonic() - started < 1


def test_a_tool_is_not_even_called_for_a_run_that_is_cancelled_already(context):
    context.cancellation.set()
    with pytest.raises(errors.Aborted):
        invoke(catalogue.get("testshop.length"), {"text": "a"}, context)


class CarrierAwayError(ToolError):
    """The carrier does not answer."""


@pytest.mark.parametrize(
    ("raised", "kind", "permanent", "words"),
    [
        (KeyError("B-1"), "KeyError", True, "KeyError: 'B-1'"),
        (ConnectionResetError("by peer"), "connection", False, "ConnectionResetError: by peer"),
        (ConnectionRefusedError(), "ConnectionRefusedError", False, "ConnectionRefusedError"),
        (TimeoutError("carrier"), "timeout", False, "TimeoutError: carrier"),
        (ToolError("No such order."), "ToolError", True, "No such order."),
        (CarrierAwayError("Try later.", permanent=False), "CarrierAwayError", False, "Try later."),
        (errors.OutsideError("Busy.", kind="busy", permanent=False), "busy", False, "Busy."),
        (SystemExit(3), "SystemExit", True, "SystemExit: 3"),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("where", ["here", "thread", "loop"])
def test_what_a_tool_raises_says_whether_trying_again_can_help(context, raised, kind, permanent, words, where):
    def fail() -> None:
        raise raised

    async def fail_async() -> None:
        raise raised

    spec = replace(
        catalogue.get("testshop.length"),
        function=fail_async if where == "loop" else fail,
        is_async=where == "loop",
        typed=catalogue.get("testshop.sleepless").typed,
        timeout=None if where == "here" else timedelta(seconds=5),
    )
    with pytest.raises(errors.OutsideError) as failed:
        invoke(spec, {}, context)
    assert (failed.value.kind, failed.value.permanent, str(failed.value)) == (kind, permanent, words)


@tool("testshop.sleepless", tier=1, timeout=None)
def sleepless() -> None: ...


def returning(value: Any) -> catalogue.ToolSpec:
    return replace(catalogue.get("testshop.sleepless"), function=lambda: value)


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ({"total": Decimal("12.50"), "on": date(2026, 3, 31)}, {"total": "12.50", "on": "2026-03-31"}),
        ([Line("house", 2)], [{"sku": "house", "bags": 2}]),
        ({1: ("a", "b")}, {"1": ["a", "b"]}),
        ({"ratio": float("nan")}, {"ratio": None}),
        ({"note": "caf\x00é"}, {"note": "caf\ufffdé"}),
        ({"half": ["\ud83d of a sign 😀"]}, {"half": ["\ufffd of a sign 😀"]}),
        (None, None),
    ],
)
def test_a_result_is_what_the_database_would_give_back(context, value, kept):
    assert invoke(returning(value), {}, context) == kept


def test_a_result_that_is_not_json_is_named(context):
    with pytest.raises(errors.OutsideError, match="ran, but what it returned is not JSON") as failed:
        invoke(returning({"lock": threading.Lock()}), {}, context)
    assert failed.value.kind == "result"


# --- the sandbox -----------------------------------------------------------------------------------------------------
def test_in_a_sandbox_a_write_is_said_and_not_done(context):
    spec, sandbox = catalogue.get("testshop.refund"), replace(context, environment="sandbox")
    given = validate(spec, {"order": "B-1", "amount": "12.50"})
    assert invoke(spec, given, sandbox) == {"simulated": True, "says": "Refund 12.50 EUR of order B-1"}
    assert invoke(catalogue.get("testshop.length"), {"text": "abc"}, sandbox) == 3


def test_a_tool_may_bring_its_own_stand_in_for_the_sandbox(context):
    @tool(
        "testshop.book",
        tier=2,
        writes=True,
        says=lambda: "Book a van",
        touches=list,
        sandbox=lambda day: {"van": 1, "day": day},
    )
    def book(context: ToolContext, day: date) -> dict[str, Any]:
        raise AssertionError("the carrier was called")

    result = invoke(catalogue.get("testshop.book"), {"day": "2026-03-31"}, replace(context, environment="sandbox"))
    assert result == {"simulated": True, "van": 1, "day": "2026-03-31"}


# --- loading ---------------------------------------------------------------------------------------------------------
SCRIPT = """
import os, threading
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cockpit.settings")
from django.conf import settings
settings.AGENT_TOOL_MODULES = []
from agents.tools import catalogue
from agents.registry import declarations
from agents import errors
"""


def in_a_workspace(folder: Path, script: str) -> str:
    environment = {"COCKPIT_WORKSPACE": str(folder), "COCKPIT_DATA_DIR": str(folder), "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT + script], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()


def test_a_companys_tools_are_loaded_once_whoever_asks_first(tmp_path):
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "_prices.py").write_text("print('prices'); BAG = 9")
    (tmp_path / "tools" / "orders.py").write_text(
        "from agents.tools import tool\nfrom . import _prices\nprint('orders')\n"
        "@tool('orders.price', tier=1)\ndef price(bags: int) -> int: return bags * _prices.BAG\n"
    )
    told = in_a_workspace(
        tmp_path,
        "threads = [threading.Thread(target=catalogue.get, args=['orders.price']) for _ in range(8)]\n"
        "[thread.start() for thread in threads]; [thread.join() for thread in threads]\n"
        "print(*declarations.declared())",
    )
    assert told.split() == ["prices", "orders", "orders.price"]


def test_a_broken_file_is_named_with_its_line_and_leaves_nothing_behind(tmp_path):
    (tmp_path / "tools").mkdir()
    broken = tmp_path / "tools" / "orders.py"
    broken.write_text(
        "from agents.tools import tool\n"
        "@tool('orders.price', tier=1)\ndef price(bags: int) -> int: return bags\n"
        "price.cost = PRICES\n"
    )
    asking = (
        "for _ in range(2):\n"
        "    try: catalogue.load()\n"
        "    except errors.Invalid as error: print(error.message)\n"
        "print(declarations._declared)"
    )
    sentence = f"The tools in {broken}, line 4, could not be loaded: NameError: name 'PRICES' is not defined."
    assert in_a_workspace(tmp_path, asking).splitlines() == [sentence, sentence, "{}"]


# --- cost ------------------------------------------------------------------------------------------------------------
def test_checking_and_using_a_trivial_tool_costs_less_than_thirty_microseconds(context):
    spec, rounds = catalogue.get("testshop.length"), 2000
    use = timeit.repeat(lambda: invoke(spec, validate(spec, {"text": "beans"}), context), number=rounds, repeat=5)
    assert min(use) / rounds < 30e-6
