"""`manage.py policy`: try policies out, publish them, see what they would have done, enforce them, go back."""

from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from agents import errors
from agents.contracts import Json
from agents.management.nouns import NounCommand, account, require_database
from agents.registry import declarations
from approvals.policies import cases, comparing, loaded, previewing, publishing, speaking, surface
from approvals.policies.engine import PolicyEngine
from approvals.policies.models import PolicySet
from approvals.policies.previewing import Preview
from approvals.policies.unjudged import Example

DAYS = 7


class Command(NounCommand):
    """Test, publish, diff, preview, enforce, roll back and list."""

    help = "The policies: test, publish, list, diff, preview, log-only, enforce, roll-back."

    def add_verbs(self) -> None:
        """Eight verbs."""
        self.add_verb("test", self.test).add_argument("path", type=Path, help="a .cedar file, or a folder of them")
        publish = self.add_verb("publish", self.publish)
        publish.add_argument("path", type=Path, help="a .cedar file with its .toml of cases beside it, or a folder")
        self.add_verb("list", self.list)
        diff = self.add_verb("diff", self.diff)
        diff.add_argument("before", type=int, metavar="A")
        diff.add_argument("after", type=int, metavar="B")
        preview = self.add_verb("preview", self.preview)
        log_only = self.add_verb("log-only", self.log_only)
        enforce = self.add_verb("enforce", self.enforce)
        for parser in (preview, log_only, enforce):
            parser.add_argument("number", type=int, metavar="NUMBER")
        for parser in (preview, enforce):
            parser.add_argument("--days", type=int, default=DAYS, metavar="N", help=f"of real actions; {DAYS}")
        back = self.add_verb("roll-back", self.roll_back)
        back.add_argument("--reason", required=True, help="why, for the audit log")
        enforce.add_argument("--reason", default="", help="why, for the audit log; without it, only the preview")
        for parser in (publish, log_only, enforce, back):
            parser.add_argument("--as", dest="by", metavar="USER", help="who does it; the installation if left out")

    def needs_database(self, given: dict[str, Any]) -> bool:
        """Whether files are all it takes."""
        return given.keys() != {"path"}

    def test(self, *, path: Path) -> None:
        """Check policies and run their cases; nothing is published."""
        files, given = publishing.read(path)
        engine = publishing.built(files, self._surface())
        failed = 0
        for outcome in cases.run(engine, given):
            failed += bool(outcome.problem)
            mark = "FAIL" if outcome.problem else "ok"
            self.say(f"{mark:4}  {outcome.problem or f'{outcome.name}: {outcome.expect}'}")
        publishing.require_cases(engine, given)
        self.say(f"{_count(len(engine.rules), 'rule')}, {_count(len(given), 'case')}: all as they must be.")

    def _surface(self) -> Json:
        """What rules can speak about; without a database what this installation declares itself."""
        try:
            require_database()
        except CommandError:
            self.say("The database does not answer, so no tool of an agent elsewhere is known here.")
            return surface.of(declarations.declared())
        return speaking.now()

    def publish(self, *, path: Path, by: str | None) -> None:
        """Keep policies as the next version. Nothing obeys it until it is enforced."""
        known = set(PolicySet.objects.values_list("pk", flat=True))
        made = publishing.publish(*publishing.read(path), by=_actor(by))
        if made.pk not in known:
            self.say(f"Policies {made.number} are published, {len(made.cases)} cases pass. Nothing obeys them yet:")
            self.say(f"  manage.py policy preview {made.number}     what they would have done")
            self.say(f"  manage.py policy log-only {made.number}    try them beside what holds")
            self.say(f"  manage.py policy enforce {made.number} --reason WHY")
        else:
            self.say(f"The same is published already: policies {made.number}, {made.get_state_display()}.")

    def list(self) -> None:
        """Every version, newest first."""
        rows = [
            [
                str(one.number),
                one.get_state_display(),
                f"{one.published_at:%Y-%m-%d %H:%M}",
                one.published_by.username if one.published_by else "cockpit",
                f"{one.enforced_at:%Y-%m-%d %H:%M}" if one.enforced_at else "",
                str(len(one.cases)),
                one.digest[:12],
            ]
            for one in PolicySet.objects.select_related("published_by").defer("surface", "files")
        ]
        heads = ["NUMBER", "STATE", "PUBLISHED (UTC)", "BY", "ENFORCED (UTC)", "CASES", "DIGEST"]
        self.table(heads, rows, empty="No policies are published yet: manage.py policy publish FILE")

    def diff(self, *, before: int, after: int) -> None:
        """What is different between two versions."""
        found = list(comparing.differences(publishing.numbered(before), publishing.numbered(after)))
        self.say(*(found or [f"Policies {before} and {after} are the same."]))

    def preview(self, *, number: int, days: int) -> None:
        """What a version would have done on the real actions of the last days."""
        if days < 1:
            raise errors.Invalid("--days is a whole number of days, 1 or more.")
        self._show(previewing.preview(_engine(publishing.numbered(number)), days=days))

    def log_only(self, *, number: int, by: str | None) -> None:
        """Try a version beside what holds: where it says something else is kept and shown, nothing obeys it."""
        publishing.log_only(publishing.numbered(number), by=_actor(by))
        self.say(f"Policies {number} are tried from now on; see Policies in the cockpit for where they differ.")

    def enforce(self, *, number: int, days: int, reason: str, by: str | None) -> None:
        """Show what a version would have done and, with a reason, make it hold."""
        policy_set = publishing.numbered(number)
        self.preview(number=number, days=days)
        if not reason:
            return self.say(f"Nothing changed. To enforce: manage.py policy enforce {number} --reason WHY")
        publishing.enforce(policy_set, by=_actor(by), reason=reason)
        return self.say(f"Policies {number} hold from now on, everywhere within {loaded.FRESH_S:g} s.")

    def roll_back(self, *, reason: str, by: str | None) -> None:
        """Enforce the version that the present one replaced."""
        now = publishing.roll_back(by=_actor(by), reason=reason)
        self.say(f"Policies {now.number} hold again." if now else "No policies are enforced any more.")

    def _show(self, found: Preview) -> None:
        cut = " (the newest; there are more)" if found.is_cut else ""
        self.say(f"Of {_count(found.judged, 'action')} of the last {_count(found.days, 'day')}{cut}:")
        for stance in ("allow", "hold", "deny"):
            self.say(f"  {found.stances[stance]:6}  {stance}")
        if found.rules:
            rows = [[would, name, rule, str(n)] for (would, name, rule), n in found.rules.most_common()]
            self.say("")
            self.table(["WOULD", "ACTION", "RULE", "TIMES"], rows, empty="")
        self._show_unjudged(found)
        for (was, would), n in found.changed.most_common():
            such = [one for one in found.examples if (one.was, one.decision.stance.name.lower()) == (was, would)][:3]
            self.say("", f"{n} that were {PAST[was]} would be {PAST[would]}{', such as:' if such else '.'}")
            for one in such:
                self.say(f"  {_step(one)} · {one.says or one.name}")

    def _show_unjudged(self, found: Preview) -> None:
        if found.unjudged:
            rows = [[str(one.times), one.name, one.why, _step(one.examples[0])] for one in found.unjudged]
            self.say("", f"{_count(found.unjudged_times, 'action')} could not be judged, so they would be denied:")
            self.table(["TIMES", "ACTION", "WHY", "SUCH AS"], rows, empty="")


PAST = {"allow": "allowed", "hold": "held", "deny": "denied"}


def _actor(name: str | None) -> Any:
    return account(name, option="--as") if name else None


def _engine(policy_set: PolicySet) -> PolicyEngine:
    found = loaded.load(policy_set)
    if found.engine is None:
        raise errors.Conflict(f"Policies {policy_set.number} cannot be loaded: {found.problem}")
    return found.engine


def _step(one: Example) -> str:
    return f"{one.run_id} step {one.seq} · {one.agent}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"
