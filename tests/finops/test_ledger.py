"""Every billed call is written down once, and stays."""

import threading
from decimal import Decimal

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import Sum
from django.db.utils import ProgrammingError
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from agents import signals
from agents.contracts import Usage
from finops import ledger, pricing
from finops.models import LedgerEntry
from tests import factories
from tests.finops import books

pytestmark = pytest.mark.django_db


def test_a_billed_call_becomes_one_entry_with_everything_it_was_billed_for() -> None:
    desk = books.agent()
    run = factories.run(desk)
    price = pricing.price("simulated", "sim-large", Usage(1000, 100, cache_read=400), books.NOON)
    billed = books.call(desk, str(price.amount), run_id=run.id, usage=Usage(1000, 100, cache_read=400))
    signals.call_billed.send(None, call=billed)
    entry = LedgerEntry.objects.get()
    assert (entry.run, entry.agent, entry.team, entry.release) == (run, desk, desk.team, desk.release)
    assert (entry.seq, entry.attempt, entry.use_case, entry.at) == (1, 1, "tickets", books.NOON)
    assert (entry.tokens_in, entry.tokens_out, entry.cache_read, entry.cache_write) == (1000, 100, 400, None)
    assert (entry.amount, entry.kind) == (price.amount, "priced")


def test_booking_the_same_call_again_changes_nothing() -> None:
    desk = books.agent()
    first = books.call(desk, "0.50")
    again = books.call(desk, "0.70", run_id=first.run_id)
    assert [ledger.book(first), ledger.book(first), ledger.book(again)] == [True, False, False]
    assert LedgerEntry.objects.get().amount == Decimal("0.50")


def test_another_attempt_at_the_same_step_is_a_call_of_its_own() -> None:
    desk = books.agent()
    first = books.spend(desk)
    books.spend(desk, run_id=first.run_id, attempt=2)
    books.spend(desk, run_id=first.run_id, seq=2)
    assert LedgerEntry.objects.count() == 3


def test_unknown_stays_unknown() -> None:
    books.spend(books.agent(), None, usage=Usage())
    entry = LedgerEntry.objects.get()
    assert (entry.amount, entry.kind, entry.tokens_in, entry.tokens_out) == (None, "unpriced", None, None)


@pytest.mark.parametrize(("amount", "kind"), [(None, "priced"), ("0", "unpriced")])
def test_the_database_refuses_an_amount_that_contradicts_its_kind(amount: str | None, kind: str) -> None:
    with pytest.raises(IntegrityError, match="ledger_unpriced_is_null"), transaction.atomic():
        books.spend(books.agent(), amount, kind=kind)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE finops_ledgerentry SET amount = 0",
        "DELETE FROM finops_ledgerentry",
        "TRUNCATE finops_ledgerentry",
    ],
)
def test_nobody_changes_removes_or_empties_what_was_booked(statement: str) -> None:
    books.spend(books.agent())
    with connection.cursor() as cursor:  # switched off for tests that commit and clean up behind them
        cursor.execute("ALTER TABLE finops_ledgerentry ENABLE TRIGGER ledger_is_never_emptied")
    with pytest.raises(ProgrammingError, match="immutable"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)
    assert LedgerEntry.objects.get().amount == Decimal("0.01")


@pytest.mark.django_db(transaction=True)
def test_a_call_booked_by_many_at_once_is_booked_once() -> None:
    desk = books.agent()
    calls = [books.call(desk, "0.01", seq=seq) for seq in range(1, 21)]
    firsts: list[bool] = []
    start = threading.Barrier(8)

    def book_all() -> None:
        start.wait()
        try:
            for call in calls:
                with transaction.atomic():
                    firsts.append(ledger.book(call))
        finally:
            connection.close()

    threads = [threading.Thread(target=book_all) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(firsts), sum(firsts)) == (160, 20)
    assert LedgerEntry.objects.aggregate(whole=Sum("amount"))["whole"] == Decimal("0.20")


amounts = st.decimals(0, "99999999", places=8)


class Sums(TestCase):
    """Whatever is booked, the ledger adds up to it."""

    @settings(deadline=None, max_examples=50)
    @given(st.lists(st.tuples(amounts | st.none(), st.integers(1, 3)), max_size=30))
    def test_the_ledger_adds_up_to_what_was_billed_however_often_each_was_sent(
        self, billed: list[tuple[Decimal | None, int]]
    ) -> None:
        desk = books.agent()
        for seq, (amount, times) in enumerate(billed, 1):
            call = books.call(desk, None if amount is None else str(amount), seq=seq)
            for _ in range(times):
                ledger.book(call)
        known = [amount for amount, _ in billed if amount is not None]
        found = LedgerEntry.objects.aggregate(whole=Sum("amount"))["whole"]
        assert found == (sum(known) if known else None)
        assert found is None or isinstance(found, Decimal)
        assert LedgerEntry.objects.count() == len(billed)
