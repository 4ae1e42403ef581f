"""`manage.py release`: publish a file, compare releases, go back."""

import difflib
import json
from pathlib import Path
from typing import Any

from agents import errors
from agents.management.nouns import NounCommand, account
from agents.registry import bundles, comparing, publishing
from agents.registry.models import Agent, Release


class Command(NounCommand):
    """Publish, list, diff and roll back."""

    help = "The releases of agents: publish, list, diff, roll-back."

    def add_verbs(self) -> None:
        """Four verbs."""
        publish = self.add_verb("publish", self.publish)
        publish.add_argument("file", type=Path, help="the agent's TOML file")
        publish.add_argument("--as", dest="by", metavar="USER", help="who publishes; the installation if left out")
        listing = self.add_verb("list", self.list)
        listing.add_argument("slug", metavar="AGENT")
        diff = self.add_verb("diff", self.diff)
        for name, metavar in (("slug", "AGENT"), ("before", "A"), ("after", "B")):
            diff.add_argument(name, metavar=metavar)
        back = self.add_verb("roll-back", self.roll_back)
        back.add_argument("slug", metavar="AGENT")
        back.add_argument("version", metavar="VERSION")
        back.add_argument("--reason", required=True, help="why, for the audit log")
        back.add_argument("--as", dest="by", metavar="USER", help="who goes back; the installation if left out")

    def publish(self, *, file: Path, by: str | None) -> None:
        """Publish a TOML file: its agent runs it from now on."""
        actor = account(by, option="--as") if by else None
        known = set(Release.objects.values_list("pk", flat=True))
        release = publishing.publish(bundles.read(file), by=actor)
        if release.pk not in known:
            return self.say(f"{release} is live, digest {release.digest[:12]}.")
        self.say(f"{release} is published already and {release.state}; nothing changed.")
        if release.state == Release.State.RETIRED:
            self.say(f"To run it again: manage.py release roll-back {release.agent} {release.version} --reason WHY")
        return None

    def list(self, *, slug: str) -> None:
        """Every release of an agent, newest first."""
        rows = [
            [
                release.version,
                release.state,
                f"{release.published_at:%Y-%m-%d %H:%M}",
                release.published_by.username if release.published_by else "cockpit",
                release.digest[:12],
            ]
            for release in _agent(slug).releases.select_related("published_by").order_by("-published_at")
        ]
        self.table(["VERSION", "STATE", "PUBLISHED (UTC)", "BY", "DIGEST"], rows, empty=f"{slug} has no release yet.")

    def diff(self, *, slug: str, before: str, after: str) -> None:
        """What is different between two releases of an agent."""
        agent = _agent(slug)
        changes = comparing.diff(_release(agent, before), _release(agent, after))
        for change in changes:
            self.say(change.path, *_lines(change))
        if not changes:
            self.say(f"{slug} {before} and {after} are the same.")

    def roll_back(self, *, slug: str, version: str, reason: str, by: str | None) -> None:
        """Run an earlier release again; runs that have begun stay with theirs."""
        agent = _agent(slug)
        actor = account(by, option="--as") if by else None
        publishing.roll_back(agent, to=_release(agent, version), by=actor, reason=reason)
        self.say(f"{slug} runs {version} again.")


def _agent(slug: str) -> Agent:
    agent: Agent | None = Agent.objects.select_related("team", "release").filter(slug=slug).first()
    if agent is None:
        raise errors.Missing(f"There is no agent called {slug!r}. See manage.py agent list.")
    return agent


def _release(agent: Agent, version: str) -> Release:
    release: Release | None = agent.releases.filter(version=version).first()
    if release is None:
        known = ", ".join(agent.releases.order_by("published_at").values_list("version", flat=True)) or "none"
        raise errors.Missing(f"{agent} has no release {version}. It has {known}.")
    return release


def _lines(change: comparing.Change) -> list[str]:
    """Both sides of a place, text line by line."""
    before, after = _text(change.before), _text(change.after)
    return [line for line in difflib.ndiff(before, after) if not line.startswith("?")]


def _text(value: Any) -> list[str]:
    if value is comparing.ABSENT:
        return []
    return value.splitlines() if isinstance(value, str) else json.dumps(value, indent=1, sort_keys=True).splitlines()
