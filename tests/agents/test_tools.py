"""Using tools: arguments that do not fit, what an act says of itself, and every way a use can end."""

import asyncio
import threading
import time
import timeit
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from uuid_utils.compat import uuid7

from agents import errors
from agents.cancellation import Cancellation
from agents.tools import ToolContext, ToolError, Touched, catalogue, tool
from agents.tools.checking import validate
from agents.tools.invocation import describe, invoke, preview, touched
from tests.agents.testshop import Line


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


# --- arguments -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"amount": 5}, "order is missing; it takes text."),
        ({"order": "B-1", "amount": "a lot"}, 'amount is "a lot"; it takes an amount such as 92.00.'),
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


# --- cost ------------------------------------------------------------------------------------------------------------
def test_checking_and_using_a_trivial_tool_costs_less_than_thirty_microseconds(context):
    spec, rounds = catalogue.get("testshop.length"), 2000
    use = timeit.repeat(
        lambda: invoke(spec, validate(spec, {"text": "beans"}), context),
        number=rounds,
        repeat=5,
        timer=time.thread_time,
    )
    assert min(use) / rounds < 30e-6
