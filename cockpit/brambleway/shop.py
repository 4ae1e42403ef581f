"""The systems of the demo company: orders, tickets, a handbook and a carrier, in an SQLite file beside our database.

They stand for the outside world: our engine knows nothing of them but what its tools are told. Like a good payment
provider they keep idempotency keys, so that the same request twice is one effect.
"""

import json
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from django.conf import settings

ORDERS = range(4700, 5100)
FIRST_TICKET = 880

CAFES = [
    ("Café Lindenhof", "Hamburg"),
    ("Bar Nord", "Kiel"),
    ("Rösterei Sommer", "Leipzig"),
    ("Kaffeehaus am Markt", "Wien"),
    ("The Daily Grind", "Dublin"),
    ("Espressobar Zwei", "Zürich"),
    ("Kleine Pause", "Bremen"),
    ("Velo Café", "Basel"),
    ("Zum Blauen Krug", "Graz"),
    ("Torrefazione Ponte", "Verona"),
]
GOODS = [
    ("12 kg House Blend", 168),
    ("6 kg Yirgacheffe", 132),
    ("Grinder MK 2", 389),
    ("Descaling kit", 38),
    ("Two-group machine, refurbished", 1840),
    ("Group head gasket set", 24),
    ("3 kg Decaf", 57),
]
COMPLAINTS = [
    "the machine arrived broken",
    "two bags were torn open",
    "the wrong roast was delivered",
    "the parcel came a week too late",
    "we were charged twice",
]
QUESTIONS = [
    "How fine should we grind for the House Blend?",
    "How often does the MK 2 need new burrs?",
    "Which descaler is safe for a two-group machine?",
    "Can we change our weekly order to every second week?",
    "The group head drips after a shot, what can we do?",
]
HANDBOOK = {
    "grind": ("kb 4", "House Blend: 18 g in, 36 g out, 27 seconds. Go finer when it runs faster."),
    "burr": ("kb 7", "MK 2 burrs last about 600 kg. Change them when the grind turns uneven."),
    "descal": ("kb 9", "Citric acid only; never vinegar. Every three months with hard water."),
    "order": ("kb 11", "Standing orders can be moved up to two days before they ship."),
    "drip": ("kb 12", "A dripping group head needs a new gasket: order set GH-2, ten minutes of work."),
    "damaged": ("kb 15", "Damaged on arrival: refund in full within 14 days if a photo or a ticket says so."),
}


@contextmanager
def books() -> Iterator[sqlite3.Connection]:
    """The company's data, made on first use; what is done inside is committed at the end."""
    folder = settings.DATA_DIR / "brambleway"
    folder.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(folder / "shop.sqlite3", timeout=20)) as connection:
        connection.row_factory = sqlite3.Row
        with connection:
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'effects'").fetchone():
                _open_shop(connection)
            yield connection


def _open_shop(connection: sqlite3.Connection) -> None:
    connection.executescript(
        """
        PRAGMA journal_mode = WAL;
        CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, customer TEXT, city TEXT, item TEXT,
                                           total INTEGER, paid INTEGER, status TEXT);
        CREATE TABLE IF NOT EXISTS tickets (id INTEGER PRIMARY KEY, customer TEXT, about INTEGER, text TEXT,
                                            reply TEXT);
        CREATE TABLE IF NOT EXISTS effects (key TEXT PRIMARY KEY, kind TEXT, record TEXT, result TEXT,
                                            at TEXT DEFAULT CURRENT_TIMESTAMP);
        """
    )
    chance = random.Random(4711)  # noqa: S311 - invented customers, not secrets
    for number in ORDERS:
        (customer, city), (item, price) = chance.choice(CAFES), chance.choice(GOODS)
        status = chance.choices(["delivered", "packed", "shipped"], [6, 3, 1])[0]
        row = (number, customer, city, item, price, price, status)
        connection.execute("INSERT OR IGNORE INTO orders VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        text = chance.choice(COMPLAINTS if chance.random() < 0.5 else QUESTIONS)
        ticket = (number - ORDERS.start + FIRST_TICKET, customer, number, text)
        connection.execute("INSERT OR IGNORE INTO tickets (id, customer, about, text) VALUES (?, ?, ?, ?)", ticket)


def order(number: int) -> dict[str, Any] | None:
    """One order, if there is such a one."""
    with books() as connection:
        row = connection.execute("SELECT * FROM orders WHERE id = ?", (number,)).fetchone()
    return dict(row) if row else None


def ticket(number: int) -> dict[str, Any] | None:
    """One ticket, if there is such a one."""
    with books() as connection:
        row = connection.execute("SELECT id, customer, about, text FROM tickets WHERE id = ?", (number,)).fetchone()
    return dict(row) if row else None


def once(
    key: str, kind: str, record: str, change: tuple[str, tuple[Any, ...]], result: dict[str, Any]
) -> dict[str, Any]:
    """Do `change` under an idempotency key; the same key again changes nothing and answers as the first time did."""
    with books() as connection:
        seen = connection.execute("SELECT result FROM effects WHERE key = ?", (key,)).fetchone()
        if seen:
            return {**json.loads(seen["result"]), "repeated": True}
        connection.execute(*change)
        row = (key, kind, record, json.dumps(result))
        connection.execute("INSERT INTO effects (key, kind, record, result) VALUES (?, ?, ?, ?)", row)
    return result
