"""`manage.py agent`: make an agent in the workspace, try it, see which there are."""

from decimal import Decimal
from pathlib import Path

from django.conf import settings

from agents import errors
from agents.management import scaffolding
from agents.management.nouns import NounCommand, account
from agents.people.models import Permission, Team, User
from agents.registry import bundles, publishing, workspace
from agents.registry.models import Agent
from agents.runs import keeper, story, trying
from agents.runs.models import Run


class Command(NounCommand):
    """New, try and list."""

    help = "The agents of this installation: new, try, list."

    def add_verbs(self) -> None:
        """Three verbs."""
        new = self.add_verb("new", self.new)
        new.add_argument("slug", help="a short name for addresses, such as night-desk")
        new.add_argument("--workspace", type=Path, metavar="DIR", help="where; COCKPIT_WORKSPACE if left out")
        new.add_argument("--team", help="the team it works for")
        new.add_argument("--owner", metavar="USER", help="who answers for it")
        attempt = self.add_verb("try", self.attempt)
        attempt.add_argument("agent", metavar="SLUG|FILE", help="an agent of the workspace, or a TOML file")
        attempt.add_argument("--objective", required=True, help="what it is to achieve, in a sentence")
        attempt.add_argument("--as", dest="by", metavar="USER", help="who tries it; the installation if left out")
        self.add_verb("list", self.list)

    def new(self, *, slug: str, workspace: Path | None, team: str | None, owner: str | None) -> None:
        """Make an agent with one tool that reads and one that writes, ready to be tried."""
        folder = (workspace or _folder()).resolve()
        team = team or Team.objects.order_by("slug").values_list("slug", flat=True).first()
        owner = owner or _somebody(team)
        files = scaffolding.make(slug, folder, team=team or "your-team", owner=owner or "your-name")
        self.say(*(f"made {file}" for file in files))
        if not (team and owner):
            self.say("There is no team or no person yet: see manage.py user create --help, then fill in [agent].")
        if folder != settings.WORKSPACE:
            self.say(f"Set COCKPIT_WORKSPACE={folder} for every process of the cockpit.")
        self.say(f'Next: manage.py agent try {slug} --objective "Close record A-1"')

    def attempt(self, *, agent: str, objective: str, by: str | None) -> None:
        """Run an agent as its file is now, in the sandbox, and tell what it did."""
        actor = account(by, option="--as") if by else None
        release = publishing.draft(bundles.read(_file(agent)), by=actor)
        self.say(f"Trying {release} in the sandbox: whatever it writes is simulated.", "")
        try:
            run = trying.attempt(release, objective=objective, by=actor)
        finally:
            keeper.close()
        self._tell(run)

    def _tell(self, run: Run) -> None:
        """The story, what came of it and what it cost."""
        for line in story.tell(run, story.window(run)):
            words = " ".join(part for part in (f"{line.lead.rstrip()} {line.act}".strip(), line.tail) if part)
            took = f"  ({line.seconds:.1f} s)" if line.seconds is not None and line.seconds >= 0.05 else ""
            self.say(f"{line.seq or '':>4}  {words}{took}", *([f"      “{line.quote}”"] if line.quote else []))
        self.say("", f"{run.state}: {_outcome(run)}")
        speaker = ", a simulated model spoke" if run.release.is_simulated else ""
        self.say(
            f"{run.steps_done} steps, {run.tokens_in + run.tokens_out} tokens, {_money(run)}{speaker}; run {run.pk}"
        )

    def list(self) -> None:
        """Every agent: whose it is, what it runs, what of the workspace is not published yet."""
        rows = [
            [
                agent.slug,
                agent.team.slug,
                agent.owner.username if agent.owner else "",
                agent.release.version if agent.release else "not published",
                agent.environment,
                f"frozen: {agent.frozen_reason}" if agent.frozen_at else "",
            ]
            for agent in Agent.objects.select_related("team", "owner", "release")
        ]
        known = {row[0] for row in rows}
        folder = workspace.folder()
        for file in sorted((folder / "agents").glob("*.toml")) if folder else ():
            if file.stem not in known:
                rows.append([file.stem, "", "", "not published", "", str(file)])
        heads = ["AGENT", "TEAM", "OWNER", "RELEASE", "ENVIRONMENT", ""]
        self.table(heads, rows, empty="There are no agents yet; see manage.py agent new --help.")


def _folder() -> Path:
    """The workspace, or one sentence about how to have one."""
    folder = workspace.folder()
    if folder is None:
        raise errors.Invalid(
            "There is no workspace: set COCKPIT_WORKSPACE to a folder of yours, or add --workspace DIR."
        )
    return folder


def _file(agent: str) -> Path:
    """The TOML file of an agent. Without a workspace the folder around the file is taken for one."""
    if agent.endswith(".toml"):
        file = Path(agent).resolve()
        if workspace.folder() is None and file.parent.name == "agents":
            settings.WORKSPACE = file.parent.parent
        return file
    file = _folder() / "agents" / f"{agent}.toml"
    if not file.exists():
        known = ", ".join(sorted(path.stem for path in file.parent.glob("*.toml"))) or "none yet"
        raise errors.Missing(f"The workspace has no agent {agent!r} ({file}). It has {known}.")
    return file


def _somebody(team: str | None) -> str | None:
    """Who probably answers for an agent of a team: somebody who may publish for it."""
    where = Team.objects.filter(slug=team).first()
    people = User.objects.filter(kind=User.Kind.PERSON, is_active=True).order_by("created_at")
    return next((one.username for one in people if where and one.may(Permission.PUBLISH, where.pk)), None)


def _outcome(run: Run) -> str:
    if run.state == Run.State.COMPLETED:
        return str(run.result)
    if run.is_ended:
        return f"{run.failure_class}: {run.failure}" if run.failure else run.failure_class
    return run.waiting_for or "nobody drives it any more"


def _money(run: Run) -> str:
    cost = f"${run.cost.quantize(Decimal('0.000001')):f}"
    return f"{cost} and {run.unpriced} calls without a known price" if run.unpriced else cost
