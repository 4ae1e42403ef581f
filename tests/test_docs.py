"""The pages for people tell the truth: commands exist, the table of settings is the code's, links lead somewhere.

`docs/api.md` is tried by `tests/api/test_docs.py`.
"""

import ast
import importlib
import json
import os
import re
import shlex
import tomllib
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import get_commands, load_command_class

from agents import errors
from agents.models import Team, User
from agents.people.models import Role
from agents.registry import declarations, publishing
from agents.runs.recorded.format import RawMessage, RawRun
from agents.runs.recorded.reading import read
from agents.runs.recorded.recording import Recording
from cockpit.demo import CAST
from tests import factories

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
README = PAGES[0].read_text()
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)


def _blocks(language: str, text: str = README) -> list[str]:
    return [body for kind, body in BLOCK.findall(text) if kind == language]


def _lines() -> Iterator[str]:
    """Every shell line of every page, continued ones joined, comments and substitutions taken apart."""
    for page in PAGES:
        for block in _blocks("sh", page.read_text()):
            for line in block.replace("\\\n", " ").splitlines():
                yield from re.findall(r"(?:make|\S*python3?|manage\.py) [^|;&#)]+", line)


def test_the_commands_of_manage_py_exist_with_their_options() -> None:
    known, tried = get_commands(), set()
    for line in _lines():
        words = shlex.split(line.replace("$COCKPIT_WORKSPACE", "there"))
        if "manage.py" not in " ".join(words[:2]):
            continue
        name, *arguments = words[words.index(next(word for word in words if word.endswith("manage.py"))) + 1 :]
        assert name in known, line
        _takes(name, arguments, line)
        tried.add(name)
    assert tried >= {"agent", "audit", "prepare", "release", "replay", "tick", "token", "user"}


def _takes(name: str, arguments: list[str], line: str) -> None:
    """The command's own parser reads these arguments."""
    parser = load_command_class(get_commands()[name], name).create_parser("manage.py", name)
    placeholders = {"ROLE": "viewer", "N": "3"}
    given = [placeholders.get(word, word) for word in arguments if not re.fullmatch(r"\[.*|.*\]", word)]
    try:
        parser.parse_args(given)
    except (Exception, SystemExit) as error:  # argparse ends the process, Django raises
        pytest.fail(f"{line}: {error}")


def test_options_of_up_are_its_own() -> None:
    parser: ArgumentParser = load_command_class("cockpit", "up").create_parser("manage.py", "up")
    handed = re.findall(r'make up ARGS="?([^"\n#]+)', README)
    assert len(handed) >= 3
    for arguments in handed:
        parser.parse_args(shlex.split(arguments))


def test_the_targets_of_make_exist() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M))
    named = set(re.findall(r"\bmake (\w+)", "\n".join(_blocks("sh")))) | set(re.findall(r"`make (\w+)", README))
    assert named >= {"up", "test", "bench"}
    assert named <= targets


def test_programs_started_as_modules_exist() -> None:
    modules = re.findall(r"python -m (\S+)", README)
    assert set(modules) >= {"granian", "celery"}
    for module in modules:
        assert importlib.util.find_spec(module), module
    for dotted in re.findall(r"\b(cockpit\.\w+):application", README):
        assert hasattr(importlib.import_module(dotted), "application")


def test_the_queues_of_the_readme_are_those_of_make_up() -> None:
    from cockpit.installation import workers

    ours = {queues for job in workers(1, demo=False) for queues in re.findall(r"--queues (\S+)", " ".join(job.command))}
    assert set(re.findall(r"--queues (\S+)", README)) == ours


# --- settings --------------------------------------------------------------------------------------------------------
def _read_by_the_code() -> set[str]:
    """Names handed to `setting` and `switch`, or looked up in the environment, anywhere in the product."""
    names = set()
    for app in ("agents", "approvals", "cockpit", "finops"):
        for path in (ROOT / app).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and _asks(node.func) and node.args:
                    first = node.args[0]
                    names |= {first.value} if isinstance(first, ast.Constant) else set()
                if isinstance(node, ast.ClassDef):
                    names |= {one.value.value for one in node.body if _is_variable(one)}  # type: ignore[attr-defined]
    return {name for name in names if isinstance(name, str) and name} - {"PATH", "DJANGO_SETTINGS_MODULE"}


def _asks(function: ast.expr) -> bool:
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    if name in {"setting", "switch"}:
        return True
    return name in {"get", "getenv"} and "environ" in ast.unparse(function)


def _is_variable(node: ast.stmt) -> bool:
    """`variable = "DATABASE_URL"` of a server, by which name it is handed to `setting`."""
    return isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "variable"


def _table() -> list[list[str]]:
    text = README.split("<!-- settings:")[1].split("<!-- end of settings -->")[0]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if line[:3] == "| `"]


def test_the_table_of_settings_is_the_codes() -> None:
    names = [row[0].strip("`") for row in _table()]
    assert len(names) == len(set(names))
    assert set(names) == _read_by_the_code()


def test_the_defaults_in_the_table_are_the_codes() -> None:
    source = "\n".join(path.read_text() for path in (ROOT / "cockpit").glob("*.py"))
    source += "\n".join(path.read_text() for path in (ROOT / "agents").rglob("*.py"))
    plain = dict(re.findall(r'(?:setting|get)\("([A-Z_]+)", "([^"]*)"\)', source))
    told = {name.strip("`"): default.strip("`") for name, default, _ in _table() if default.startswith("`")}
    assert plain.keys() >= {"COCKPIT_TIME_ZONE", "COCKPIT_DB_POOL", "COCKPIT_ALLOWED_HOSTS"}
    assert {name: told.get(name) for name in plain if plain[name]} == {
        name: plain[name] for name in plain if plain[name]
    }


# --- links and lists -------------------------------------------------------------------------------------------------
def _anchors(text: str) -> set[str]:
    heads = re.findall(r"^#+ (.*)$", BLOCK.sub("", text), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = BLOCK.sub("", page.read_text())
    links = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|srcset)="([^"]+)"', text)
    for link in links:
        if link.startswith(("http://", "https://")):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert not anchor or anchor in _anchors(target.read_text()), link


def test_every_page_and_picture_is_linked() -> None:
    text = "".join(page.read_text() for page in PAGES)
    for path in [*(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "images").iterdir()]:
        assert path.name in text, path


def test_files_the_readme_names_exist() -> None:
    for name in re.findall(r"`((?:agents|cockpit|approvals|finops|tests|docs)/[\w/]+\.\w+)`", README):
        assert (ROOT / name).is_file(), name


def test_roles_and_the_demos_people_are_told() -> None:
    section = README.split("## Who can sign in")[1].split("\n## ")[0]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in section.splitlines() if line[:1] == "|"]
    rows = {role: person for role, _, person in cells[2:]}
    assert set(Role.values) == rows.keys()
    assert {name: role for name, (_, _, role) in CAST.items()} == {
        name: role for role, name in rows.items() if name in CAST
    }


# --- examples --------------------------------------------------------------------------------------------------------
def test_the_agent_and_the_tool_of_the_readme_can_be_published(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    file = next(block for block in _blocks("toml") if "[agent]" in block)
    code = next(block for block in _blocks("python") if "@tool" in block)
    declarations.load()
    monkeypatch.setattr(declarations, "_declared", dict(declarations._declared))  # the example's are gone afterwards
    exec(compile(code, "README.md", "exec"), {"__name__": "readme_example"})
    factories.team("support")
    factories.person("nora", Role.ADMIN)
    release = publishing.publish(tomllib.loads(file), by=None)
    assert release.agent.owner is not None
    assert {name: tool["writes"] for name, tool in release.bundle["tool_schemas"].items()} == {
        "deliveries.read": False,
        "deliveries.close": True,
    }


def test_the_models_of_the_readme_are_a_chain(team: Team, olga: User) -> None:
    chain = next(block for block in _blocks("toml") if "base_url" in block)
    bundle = {"version": "1", "agent": {"slug": "asks", "team": team.slug, "owner": olga.username}}
    release = publishing.publish({**bundle, "prompts": {"system": "Answer."}, **tomllib.loads(chain)}, by=None)
    assert [link["provider"] for link in release.bundle["models"]] == ["openai", "local"]
    with pytest.raises(errors.Invalid):
        publishing.publish({**bundle, "version": "2", "models": [{"provider": "openai", "api_key": "sk"}]}, by=None)


def test_the_recorded_runs_of_the_docs_can_be_read() -> None:
    found = list(read([ROOT / "docs" / "examples" / "recorded.jsonl"]))
    assert [type(one) for one in found] == [Recording, Recording]
    assert {tool.name: tool.tier for tool in found[0].tools} == {"find_parcel": 1, "redirect_parcel": 3}  # type: ignore[union-attr]


def test_the_format_of_recorded_runs_is_told_whole() -> None:
    text = (ROOT / "docs" / "recorded-runs.md").read_text()
    aside = {"tools_ref", "model_source", "user_simulator_model", "user_usage", "extra", "i"}
    for part in (RawRun, RawMessage):
        for name, field in part.model_fields.items():
            assert name in aside or f"`{field.alias or name}`" in text, name


OPENS, CLOSES = "<!-- figures: from var/bench/latest.json -->\n", "<!-- end of figures -->"


def _figures() -> str:
    """The table of the figures that were taken last."""
    rows = ["", "| figure | value | target | load | how |", "|---|---|---|---|---|"]
    for one in json.loads((ROOT / "var" / "bench" / "latest.json").read_text()):
        sign = "≥" if one["better"] == "higher" else "≤"
        target = "" if one["target"] is None else f"{sign} {one['target']:g}"
        value = f"{one['value']:,.3g}" if one["value"] < 1000 else f"{one['value']:,.0f}"
        rows.append(f"| `{one['name']}` | {value} {one['unit']} | {target} | {one['load']:g} | {one['detail']} |")
    return "\n".join([*rows, "", ""])


def test_the_figures_are_those_that_make_bench_takes() -> None:
    """`FIGURES=write pytest tests/test_docs.py -k figures` writes the table from the last `make bench`."""
    before, _, rest = PAGES[0].read_text().partition(OPENS)
    told, _, after = rest.partition(CLOSES)
    if os.environ.get("FIGURES") == "write":
        told = _figures()
        PAGES[0].write_text(before + OPENS + told + CLOSES + after)
    source = "".join(path.read_text() for path in (ROOT / "tests" / "benchmarks").glob("*.py"))
    assert after, "the marks are gone"
    names = re.findall(r"^\| `([\w.]+)` \|", told, re.M)
    assert len(names) == max(0, told.count("\n|") - 2), "a row that no figure begins"
    assert [name for name in names if f'"{name}"' not in source] == []


PEERS_OPEN, PEERS_CLOSE = "<!-- peers: from var/bench/peers.json -->\n", "<!-- end of peers -->"
PEERS_HEAD = "| | steps/s | all done after a crash | steps lost | acts twice | how |\n|---|---|---|---|---|---|\n"


def _peers() -> str:
    """The table of the last sitting in which the peers were measured; nothing of it is older."""
    sitting = json.loads((ROOT / "var" / "bench" / "peers.json").read_text())
    rows = []
    for one in sitting["rows"]:
        rate = "" if one["steps_per_second"] is None else f"{one['steps_per_second']:,.0f}"
        crash = ("", "", "")
        if one["crash_s"] is not None:
            crash = (f"{one['crash_s']:.1f} s", f"{one['lost']}", f"{one['twice']}")
        how = "; ".join(filter(None, (one["how"], one["note"])))
        rows.append(f"| {one['name']} | {rate} | {' | '.join(crash)} | {how} |\n")
    told = f"Measured on {sitting['at']} by `{sitting['command']}`; {sitting['machine']}, load {sitting['load']:g}.\n"
    return f"\n{PEERS_HEAD}{''.join(rows)}\n{told}\n"


def test_the_table_of_peers_is_one_that_make_bench_has_made() -> None:
    """`FIGURES=write pytest tests/test_docs.py -k peers` writes it from the last `make bench PEERS=folder`."""
    text = PAGES[0].read_text()
    before, _, rest = text.partition(PEERS_OPEN)
    told, _, after = rest.partition(PEERS_CLOSE)
    assert after, "the marks are gone"
    if os.environ.get("FIGURES") == "write" and (ROOT / "var" / "bench" / "peers.json").exists():
        told = _peers()
        PAGES[0].write_text(before + PEERS_OPEN + told + PEERS_CLOSE + after)
    source = (ROOT / "tests" / "benchmarks" / "bench_peers.py").read_text()
    names = [name for name in re.findall(r"^\| ([\w ]+) \|", told, re.M) if name.strip()]
    assert [name for name in names if f'"{name}"' not in source] == []
    assert PEERS_HEAD not in told or "load" in told.rpartition("Measured on")[2], "figures without a load"
