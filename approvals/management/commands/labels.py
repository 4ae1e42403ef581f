"""`manage.py labels`: what decisions teach, as a file to train with."""

from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from agents import errors
from agents.audit import log as audit
from agents.management.nouns import NounCommand
from agents.models import Agent
from approvals.learning import labels


class Command(NounCommand):
    """Export."""

    help = "What decisions teach: export labels as JSON lines."

    def add_verbs(self) -> None:
        """One verb."""
        out = self.add_verb("export", self.export)
        out.add_argument("--agent", default="", metavar="SLUG", help="of one agent only")
        out.add_argument(
            "--since", default="", metavar="DAY", help="a day such as 2026-01-31 (UTC), or a time with zone"
        )
        out.add_argument("--out", type=Path, metavar="FILE", help="a new file instead of the standard output")

    def export(self, *, agent: str, since: str, out: Path | None) -> None:
        """Write one JSON object a line and decision, the newest first. They hold what people and agents wrote."""
        named = [_agent(agent).pk] if agent else []
        found = labels.decisions(None, agents=named, since=_moment(since) if since else None)
        count = 0
        with ExitStack() as opened:
            stream = self.stdout if out is None else opened.enter_context(_new(out))
            for label in labels.every(found):
                stream.write(labels.line(label))
                count += 1
        audit.record("labels.exported", about=audit.Subject("labels", agent or "all", "labels"), by=None, count=count)
        where = f" in {out}" if out else ""
        self.stderr.write(f"{count:,} labels{where}. They are personal data: see docs/learning.md.")


def _agent(slug: str) -> Agent:
    found: Agent | None = Agent.objects.filter(slug=slug).first()
    if found is None:
        raise errors.Missing(f"--agent names {slug!r}; there is no such agent. See manage.py agent list.")
    return found


def _moment(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise errors.Invalid(f"--since is {text!r}; it takes a day such as 2026-01-31, or a time.") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _new(path: Path) -> TextIO:
    try:
        return path.open("x", encoding="utf-8")
    except FileExistsError:
        raise errors.Conflict(f"{path} exists already and is left as it is; name another file.") from None
    except OSError as error:
        raise errors.Invalid(f"{path} cannot be written: {error.strerror}.") from error
