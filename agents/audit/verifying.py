"""Whether a log is what was sealed: every entry, its place, the chain, the tree, the signatures, the published seals.

The same checks for the database and for an export; both are read once, in order, and never held in memory. Each batch
is checked from the seal before it, so one altered place does not hide what is wrong, or right, behind it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from agents.audit import findings
from agents.audit.canonical import read
from agents.audit.findings import Entry, Report
from agents.audit.merkle import Frontier, leaf_hash
from agents.audit.models import AuditSeal
from agents.audit.seals import GENESIS, Seal, chained, say

GRACE = timedelta(minutes=10)
"""No transaction takes so long, and clocks agree to so much: an entry that claims to be older was put in later."""


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the sealed order: what was sealed there, and the entry's row as it is now (None where it is gone)."""

    seq: int
    entry_id: int
    leaf: bytes
    chain: bytes
    body: bytes
    row: bytes | None

    @property
    def form(self) -> bytes:
        """What was sealed, as far as it can still be known."""
        if self.row is None or self.row == self.body or leaf_hash(self.row) != self.leaf:
            return self.body
        return self.row

    @property
    def entry(self) -> Entry:
        """Which entry it is of."""
        return Entry.of(self.form, self.row)


class Book(Protocol):
    """Where a log is read from."""

    cluster: str
    next_xid: int

    def places(self) -> Iterator[Place]:
        """Every place, by `seq`."""

    def seals(self) -> Iterator[Seal]:
        """Every seal, by `number`."""

    def unsealed(self) -> Iterator[bytes]:
        """The canonical forms of entries without a place."""


def verify(book: Book, *, keys: set[bytes], published: Iterable[Seal] = ()) -> Report:
    """Check everything. `keys` are the public keys that are trusted, `published` the seals known from outside."""
    report = Report()
    places = _Places(book.places(), report)
    checks = _Seals(report, keys, iter(published))
    for seal in book.seals():
        places.upto(seal)
        checks.look_at(seal)
    places.end()
    checks.end()
    checks.look_at_unsealed(book)
    return report


class _Places:
    """The entries: each is what was sealed, in its place, and the batch leads to what its seal says."""

    def __init__(self, places: Iterator[Place], report: Report) -> None:
        self.places, self.report = places, report
        self.ahead = next(places, None)
        self.seq = 0
        self.tree: Frontier | None = Frontier()
        self.batch = _Batch(GENESIS)
        self.not_before = ""
        self.altered: list[Place] = []

    def upto(self, seal: Seal) -> None:
        """One batch, and whether it leads to its seal."""
        known = self.report.found
        while self.ahead and self.ahead.seq <= seal.size:
            self._place(self.ahead)
            self.ahead = next(self.places, None)
        self._gap(seal.size + 1)
        is_right = self.batch.meant == seal.chain and (self.tree is None or self.tree.root == seal.root)
        if not is_right:
            self.batch.tell(self.report)
            if self.report.found == known:
                self._tell_of_batch(seal)
        elif self.batch.broken or self.batch.put_in:
            why = f"The chain within the batch of seal {seal.number} was altered; its entries are what was sealed."
            self.report.add("seal", why)
        self.tree = (self.tree if is_right else None) or seal.tree
        self.batch = _Batch(seal.chain)
        self.seq = max(self.seq, seal.size)
        if seal.reach == AuditSeal.Reach.COMPLETE:
            self.not_before = _before(seal.sealed_at)

    def end(self) -> None:
        """What stands behind the last seal, and which altered entries were swapped."""
        while self.ahead:
            self.report.add(
                "seal", f"has place {self.ahead.seq} in the order, and no seal is over it.", self.ahead.entry
            )
            self.ahead = next(self.places, None)
        self._tell_of_altered()

    def _place(self, place: Place) -> None:
        self._gap(place.seq)
        self.report.entries += 1
        self.seq = place.seq
        fields = read(place.form)
        self.report.since = self.report.since or str(fields.get("at", ""))
        self._content(place)
        if str(fields.get("id")) != str(place.entry_id):
            self.report.add("seal", f"is kept at place {place.seq} under the number {place.entry_id}.", place.entry)
        if place.row and str(fields.get("at", "")) < self.not_before:
            why = f"was appended after {self.not_before}: put in later, or by a clock that was wrong."
            self.report.add("added", why, place.entry)
        self.batch.follow(place)
        if self.tree is not None:
            self.tree.add(place.leaf)

    def _gap(self, seq: int) -> None:
        """Places that should stand before `seq`."""
        missing = seq - self.seq - 1
        if missing > 0:
            which = f"Place {self.seq + 1}" if missing == 1 else f"Places {self.seq + 1} to {seq - 1}"
            self.report.add("missing", f"{which} of the order: what was sealed there is gone.")
            self.tree, self.batch.chain, self.batch.meant = None, None, None
            self.seq = seq - 1

    def _content(self, place: Place) -> None:
        is_copy_right = leaf_hash(place.body) == place.leaf
        if place.row is None:
            self.report.add("missing", f"was sealed at place {place.seq} and is gone.", place.entry)
        elif is_copy_right and place.row != place.body:
            self.altered.append(place)
        elif not is_copy_right and leaf_hash(place.row) == place.leaf:
            self.report.add("seal", "is as it was sealed, but the sealed copy of it was altered.", place.entry)
        elif not is_copy_right:
            self.report.add("altered", "was altered together with its sealed copy.", place.entry)

    def _tell_of_altered(self) -> None:
        """Entries that say what another one said were swapped; the others say something else now."""
        said = {_content_of(place.body): place for place in self.altered}
        for place in self.altered:
            twin = said.get(_content_of(place.row or b""))
            if twin and twin is not place:
                self.report.add("moved", f"says now what entry {twin.entry.id} said.", place.entry)
            else:
                self.report.add(
                    "altered", f"was altered: {findings.changes(place.body, place.row or b'')}.", place.entry
                )

    def _tell_of_batch(self, seal: Seal) -> None:
        """Rows, copies, digests and chain agree with each other, and not with the seal."""
        first, last = self.batch.first, self.batch.last
        which = f"from {first.entry} to {last.entry}" if first and last else "without entries"
        self.report.add(
            "altered",
            f"The batch of seal {seal.number}, {which}, is not what was sealed at {seal.sealed_at}: entries in it were "
            "altered, added, taken out or moved, and their digests written anew.",
        )


class _Batch:
    """The chain through one batch: as it is meant to be, from the seal before on, and as it is stored."""

    def __init__(self, chain: bytes) -> None:
        self.meant: bytes | None = chain
        self.chain: bytes | None = chain
        self.earlier: bytes | None = None
        self.first: Place | None = None
        self.last: Place | None = None
        self.broken: list[tuple[bytes, Place]] = []
        self.put_in: list[Place] = []

    def follow(self, place: Place) -> None:
        """The next place. Behind a gap nobody knows what it follows."""
        if self.chain is not None and chained(self.chain, place.leaf) != place.chain:
            if self.last and self.earlier and chained(self.earlier, place.leaf) == place.chain:
                self.put_in.append(self.last)
            else:
                self.broken.append((self.chain, place))
        if self.meant is not None:
            self.meant = chained(self.meant, place.leaf)
        self.earlier, self.chain = self.chain, place.chain
        self.first, self.last = self.first or place, place

    def tell(self, report: Report) -> None:
        """Say of each place that does not follow what belongs there, if it is among the others."""
        for place in self.put_in:
            why = f"was put in at place {place.seq}: what follows it follows what stood before."
            report.add("added", why, place.entry)
        for before, place in self.broken[: findings.MOST]:
            belongs = next((other for _, other in self.broken if chained(before, other.leaf) == place.chain), None)
            if belongs:
                report.add("moved", f"belongs at place {place.seq} and stands at place {belongs.seq}.", belongs.entry)
            elif leaf_hash(place.body) == place.leaf:
                why = "is not what the chain has there: it, or what stood before it, was altered, added or taken out."
                report.add("altered", f"at place {place.seq} {why}", place.entry)


class _Seals:
    """The seals: numbered without gaps, signed by a key that is trusted, and those that were published."""

    def __init__(self, report: Report, keys: set[bytes], published: Iterator[Seal]) -> None:
        self.report, self.keys, self.published = report, keys, published
        self.ahead = next(published, None)
        self.last: Seal | None = None
        self.complete = ""
        self.sealed_to: dict[str, tuple[int, int]] = {}
        self.strange: dict[bytes, list[int]] = {}
        self.unlike: list[Seal] = []

    def look_at(self, seal: Seal) -> None:
        """One seal."""
        due = self.last.number + 1 if self.last else 1
        if seal.number != due:
            which = f"Seal {due}" if seal.number == due + 1 else f"Seals {due} to {seal.number - 1}"
            self.report.add("seal", f"{which}: gone, or numbered anew.")
        if not seal.is_signed:
            self.report.add("seal", f"Seal {seal.number} of {seal.size} entries was altered: its signature is wrong.")
        elif seal.key not in self.keys:
            self.strange.setdefault(seal.key, []).append(seal.number)
        if seal.tree is None:
            self.report.add("seal", f"The tree kept with seal {seal.number} was altered.")
        if seal.reach != AuditSeal.Reach.ADOPTING:
            place = seal.after_xid, seal.after_id
            self.sealed_to[seal.cluster] = max(place, self.sealed_to.get(seal.cluster, place))
        if seal.reach == AuditSeal.Reach.COMPLETE:
            self.complete = seal.sealed_at
        self._compare(seal)
        self.report.seals += 1
        self.report.sealed_at = seal.sealed_at
        self.last = seal

    def _compare(self, seal: Seal) -> None:
        while self.ahead and self.ahead.number <= seal.number:
            self.report.published += 1
            if self.ahead.text != seal.text:
                self.unlike.append(self.ahead)
            self.ahead = next(self.published, None)

    def end(self) -> None:
        """What concerns many seals is said once."""
        for key, numbers in self.strange.items():
            which = (
                f"Seal {numbers[0]} is" if len(numbers) == 1 else f"{len(numbers)} seals, {numbers[0]} the first, are"
            )
            self.report.add("key", f"{which} signed with {key.hex()[:16]}…, a key that is not trusted.")
        if self.unlike:
            told = f"{self.unlike[0].number}, of {self.unlike[0].sealed_at}, the first"
            self.report.add("checkpoint", f"{len(self.unlike)} published seals ({told}) are not those of this log.")
        if self.ahead:
            self._cut_off(self.ahead)

    def _cut_off(self, first: Seal) -> None:
        count, last = 1, first
        for following in self.published:
            count, last = count + 1, following
        self.report.published += count
        size = self.last.size if self.last else 0
        self.report.add(
            "missing",
            f"The log ends with {size} sealed entries, and {last.size} were at {last.sealed_at}: "
            f"{max(0, last.size - size)} entries were cut off, with seals {first.number} to {last.number}.",
        )

    def look_at_unsealed(self, book: Book) -> None:
        """Entries without a place wait for one, or were put in where everything had been sealed."""
        sealed_to = self.sealed_to.get(book.cluster, (0, 0))
        is_settled = self.last and self.last.cluster == book.cluster and self.last.reach != AuditSeal.Reach.ADOPTING
        not_before = _before(self.complete) if self.complete else ""
        for form in book.unsealed():
            fields = read(form)
            xid, at = int(fields["xid"]), str(fields["at"])
            if (xid, int(fields["id"])) <= sealed_to or (is_settled and xid >= book.next_xid) or at < not_before:
                self.report.add("added", "was put in where everything had been sealed before.", Entry.of(form))
                continue
            self.report.unsealed += 1
            self.report.oldest_unsealed = min(self.report.oldest_unsealed or at, at)


def _content_of(form: bytes) -> frozenset[tuple[str, str]]:
    """A form without its number."""
    return frozenset((name, repr(value)) for name, value in read(form).items() if name != "id")


def _before(sealed_at: str) -> str:
    try:
        return say(datetime.fromisoformat(sealed_at) - GRACE)
    except (ValueError, OverflowError):
        return ""
