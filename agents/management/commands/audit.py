"""`manage.py audit`: whether the log is what was sealed, and what it takes to show that to others."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError
from django.utils import timezone

from agents import errors
from agents.audit import checkpoints, exports, proofs, signing, stored
from agents.audit.findings import Report
from agents.audit.models import AuditSeal
from agents.audit.seals import Seal
from agents.audit.verifying import verify
from agents.management.nouns import NounCommand

SHOWN = 50


class Command(NounCommand):
    """Verify, export, prove, checkpoint."""

    help = "The audit log: verify, export, prove, checkpoint."
    requires_system_checks = []  # an export is checked where no database is

    def add_verbs(self) -> None:
        """Four verbs."""
        check = self.add_verb("verify", self.verify)
        check.add_argument("--export", type=Path, metavar="FILE", help="an export instead of the database")
        check.add_argument("--key", type=Path, metavar="FILE", help="public keys that are trusted besides ours, as PEM")
        check.add_argument(
            "--checkpoints", type=Path, metavar="FILE", help="seals kept elsewhere (default: those of the data folder)"
        )
        self.add_verb("export", self.export).add_argument("file", type=Path, help="a new file; .gz packs it")
        self.add_verb("prove", self.prove).add_argument("entry", type=int, metavar="ID", help="the entry's id")
        out = self.add_verb("checkpoint", self.checkpoint)
        out.add_argument("--out", type=Path, metavar="FILE", help="append it to this file instead of printing it")

    def needs_database(self, given: dict[str, Any]) -> bool:
        """An export is checked without."""
        return not given.get("export")

    def verify(self, *, export: Path | None, key: Path | None, checkpoints: Path | None) -> None:
        """Check every entry, seal and signature; what was altered is named, and the command fails."""
        keys = signing.trusted(key) if key else set()
        if export:
            report = self._verify_export(export, keys, checkpoints)
        else:
            report = self._verify_database(keys | signing.known(), checkpoints)
        self._tell(report)

    def _verify_database(self, keys: set[bytes], kept: Path | None) -> Report:
        if not keys:
            raise errors.Missing("No key of this installation is here; name its public key with --key FILE.")
        place = kept or checkpoints.path()
        published = checkpoints.read(place) if kept or place.exists() else ()
        with stored.opened() as book:
            report = verify(book, keys=keys, published=published)
        told = f"compared with {place}" if published else f"there is no {place} to compare them with"
        self.say(f"The log in the database, checked with {_named(keys)}; {told}.")
        return report

    def _verify_export(self, export: Path, keys: set[bytes], kept: Path | None) -> Report:
        book = exports.ExportedBook(export)
        report = verify(book, keys=keys or {book.key}, published=checkpoints.read(kept) if kept else ())
        if not book.is_whole:
            report.add("missing", "The file does not hold what its end tells of: lines were taken out, or put in.")
        self.say(f"{export}, written at {book.exported_at}, checked with {_named(keys or {book.key})}.")
        if not keys:
            self.say("That key came with the export: compare it with what the installation says, or use --key FILE.")
        if not kept:
            self.say("Not compared with seals kept outside (--checkpoints): if its end was cut off, nobody can tell.")
        return report

    def _tell(self, report: Report) -> None:
        if report.entries or report.seals:
            since = f"the first of {report.since}, sealed up to {report.sealed_at}"
            self.say(f"{report.entries:,} entries under {report.seals:,} seals; {since}.")
        if report.published:
            self.say(f"{report.published:,} seals kept outside were compared.")
        self.say(_waiting(report))
        if not report.is_intact:
            for finding in report.findings[:SHOWN]:
                self.stderr.write(str(finding))
            if report.found > SHOWN:
                self.stderr.write(f"and {report.found - SHOWN:,} more.")
            raise CommandError("The log is NOT what was sealed.")
        if report.unsealed and not report.seals:
            raise CommandError("Nothing is sealed: nothing is known of these entries. The tick seals; is it running?")
        self.say("Everything is as it was sealed.")

    def export(self, *, file: Path) -> None:
        """Write the log to a file that can be checked without the database."""
        keys = signing.known()
        if not keys:
            raise errors.Missing("No key of this installation is here: export where the tick runs.")
        with stored.opened() as book:
            counts = exports.write(book, file, key=min(keys))
        told = f"{counts['places']:,} sealed entries, {counts['seals']:,} seals, {counts['unsealed']:,} unsealed"
        self.say(f"{file}: {told}.", f"Check it with: manage.py audit verify --export {file}")

    def prove(self, *, entry: int) -> None:
        """Print what shows that an entry is in the log, as JSON: the entry, its path, and the signed seal."""
        self.say(json.dumps(proofs.prove(entry), indent=1))

    def checkpoint(self, *, out: Path | None) -> None:
        """Print the newest seal, to be kept where nobody of this installation can change it."""
        last = AuditSeal.objects.order_by("-number").first()
        if last is None:
            raise errors.Missing("Nothing is sealed yet.")
        line = checkpoints.line(Seal.of_row(last))
        if out is None:
            return self.say(line.rstrip("\n"))
        try:
            with out.open("a", encoding="utf-8") as file:
                file.write(line)
        except OSError as error:
            raise errors.Invalid(f"{out} cannot be written: {error.strerror}.") from error
        return self.say(f"Seal {last.number} of {last.size:,} entries is in {out}.")


def _named(keys: set[bytes]) -> str:
    """Keys by their beginnings, as findings name them."""
    return "key " + ", ".join(sorted(f"{key.hex()[:16]}…" for key in keys))


def _waiting(report: Report) -> str:
    if not report.unsealed:
        return "No entry waits for a seal."
    number = "1 entry waits" if report.unsealed == 1 else f"{report.unsealed:,} entries wait"
    waiting = f"{number} for a seal, the oldest of {report.oldest_unsealed}"
    try:
        age = (timezone.now() - datetime.fromisoformat(report.oldest_unsealed)).total_seconds()
    except (ValueError, OverflowError):
        return f"{waiting}."
    return f"{waiting}, {age:,.0f} s old."
