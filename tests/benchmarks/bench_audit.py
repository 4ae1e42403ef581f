"""What sealing the audit log costs those who append to it, and how fast it is sealed and verified.

Appending is measured as the product does it, one entry in a transaction of its own, in spells without and with a
sealer in another process: beside each other in pairs, so that a neighbour's burst hits both.
"""

import multiprocessing
import shutil
import tempfile
import threading
import time
from pathlib import Path
from statistics import median
from typing import Any

from django.conf import settings
from django.db import connection

from tests.benchmarks.figures import Figure

PAIRS, SPELL_S, THREADS = 20, 2.0, 4
EVERY_S = 0.5
"""How often the sealer comes in a spell: twenty times as often as the tick, for a spell is short."""
ENTRIES = 50_000


def run() -> list[Figure]:
    """Append first, then seal and verify a longer log."""
    from agents.audit import sealing, signing, stored
    from agents.audit.verifying import verify

    folder = Path(tempfile.mkdtemp(prefix="cockpit-audit-"))
    kept, settings.DATA_DIR = settings.DATA_DIR, folder
    try:
        ratio = appended()
        fill(ENTRIES)
        before = sealing.standing().unsealed
        seconds = timed(lambda: sealing.seal(most_s=600))
        sealed = Figure(
            "audit.seal_per_s", before / seconds, "entries/s", None, "higher", f"{before:,} entries, one sealer"
        )
        with stored.opened() as book:
            started = time.perf_counter()
            report = verify(book, keys=signing.known())
            seconds = time.perf_counter() - started
        assert report.is_intact, report.findings[:3]
        how = f"{report.entries:,} entries under {report.seals} seals, from the database, everything compared"
        return [ratio, sealed, Figure("audit.verify_per_s", report.entries / seconds, "entries/s", None, "higher", how)]
    finally:
        settings.DATA_DIR = kept
        shutil.rmtree(folder, ignore_errors=True)


def appended() -> Figure:
    """Appends a second with the sealer at work over appends a second without: the median of pairs."""
    from agents.audit import sealing

    context = multiprocessing.get_context("spawn")
    at_work = context.Event()
    ending = context.Event()
    sealer = context.Process(target=seal_when_told, args=(at_work, ending, str(settings.DATA_DIR)))
    sealer.start()
    without, beside = [], []
    try:
        spell()  # what is only done once has been done
        for number in range(PAIRS):
            order = [False, True] if number % 2 else [True, False]
            for is_sealing in order:
                sealing.seal(most_s=600)
                (at_work.set if is_sealing else at_work.clear)()
                (beside if is_sealing else without).append(spell())
                at_work.clear()
    finally:
        ending.set()
        sealer.join()
    ratios = [one / other for one, other in zip(beside, without, strict=True)]
    how = (
        f"{median(beside):,.0f} / {median(without):,.0f} entries/s, {THREADS} threads, median of {PAIRS} pairs of "
        f"{SPELL_S:g} s ({min(ratios):.2f} to {max(ratios):.2f}); a sealer in another process every {EVERY_S:g} s"
    )
    return Figure("audit.append_ratio", median(ratios), "", 0.95, "higher", how)


def spell() -> float:
    """Entries a second that threads append, each in its own transaction, for some seconds."""
    counts = [0] * THREADS
    until = time.perf_counter() + SPELL_S
    threads = [threading.Thread(target=append, args=(counts, number, until)) for number in range(THREADS)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - started)


def append(counts: list[int], number: int, until: float) -> None:
    """One thread's share."""
    from agents.audit import log
    from agents.models import Team

    about = Team(slug="bench", name="Bench")
    while time.perf_counter() < until:
        log.record("run.started", about=about, by=None, reason="The machine arrived broken.", agent="bench", n=number)
        counts[number] += 1
    connection.close()


def seal_when_told(at_work: Any, ending: Any, folder: str) -> None:
    """Another process, as the tick is one."""
    import django

    django.setup()
    settings.DATA_DIR = folder
    from agents.audit import sealing

    while not ending.wait(EVERY_S):
        if at_work.is_set():
            sealing.seal()


def fill(entries: int) -> None:
    """Many entries at once, like those appended."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO agents_auditentry (at, by_name, verb, outcome, subject_kind, subject_id, subject_name, reason,"
            " detail) SELECT now(), 'cockpit', 'run.started', 'done', 'run', gen_random_uuid()::text, 'run ' || n,"
            " 'The machine arrived broken.', jsonb_build_object('agent', 'bench', 'n', n)"
            " FROM generate_series(1, %s) n",
            [entries],
        )


def timed(work: Any) -> float:
    """The seconds that something takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
