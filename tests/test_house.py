"""The rules of the house that a machine can keep about files: sizes, names, docstrings, what a page may hold.

The rules about addresses are in `tests/test_doors.py`.
"""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
APPS = ("agents", "approvals", "cockpit", "finops")
MODULES = [
    path.relative_to(ROOT)
    for folder in (*APPS, "tests")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if "migrations" not in path.parts
]
TEMPLATES = [
    path.relative_to(ROOT) for path in sorted(ROOT.glob("**/templates/**/*.html")) if ".venv" not in path.parts
]

LONGEST_MODULE, LONGEST_FUNCTION, LONGEST_PAGE = 400, 40, 150
# An idea without a noun is not yet understood.
NAMELESS = {"utils", "helpers", "services", "common", "core", "base", "misc"}

PAIRS = [("{%", "%}"), ("{{", "}}"), ("{#", "#}")]

# What is longer for now, and how long it may be at most: these may shrink and nothing may join them without a reason.
LONGER = {
    "tests/api/test_runs.py test_steps_show_what_went_in_what_came_out_and_what_they_touched": 43,  # one whole answer
}


def _source(path: Path) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def _functions(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(_source(path))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield node.name, node.end_lineno - node.lineno + 1


def _tracked() -> list[Path]:
    """Every file of the repository; where there is none (an archive), whatever is not made by running it."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode == 0:
        return [path for name in listed.stdout.split("\0") if name and (path := Path(name)) and (ROOT / path).is_file()]
    made = {".venv", "var", ".git", "__pycache__", ".hypothesis", ".mypy_cache", ".ruff_cache", ".import_linter_cache"}
    files = (path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file())
    return [path for path in files if not made & set(path.parts)]


def test_there_are_files_to_look_at() -> None:
    assert {Path("agents/runs/runner.py"), Path("tests/test_house.py")} <= set(MODULES)
    assert Path("templates/base.html") in TEMPLATES
    assert Path("README.md") in _tracked()


def test_modules_are_short() -> None:
    lengths = {str(path): len(_source(path).splitlines()) for path in MODULES}
    assert {name: n for name, n in lengths.items() if n > LONGER.get(name, LONGEST_MODULE)} == {}


def test_functions_are_short() -> None:
    lengths = {f"{path} {name}": n for path in MODULES for name, n in _functions(path)}
    assert {name: n for name, n in lengths.items() if n > LONGER.get(name, LONGEST_FUNCTION)} == {}


def test_every_module_says_what_lives_in_it() -> None:
    assert [str(path) for path in MODULES if (text := _source(path)) and not ast.get_docstring(ast.parse(text))] == []


def test_every_module_is_named_after_an_idea() -> None:
    assert [str(path) for path in MODULES if NAMELESS & {path.stem, *path.parts[:-1]}] == []


def test_pages_are_short() -> None:
    lengths = {str(path): len(_source(path).splitlines()) for path in TEMPLATES}
    assert {name: n for name, n in lengths.items() if n > LONGEST_PAGE} == {}


@pytest.mark.parametrize(
    ("what", "pattern"),
    [
        ("style attributes", r"<[^>]*\sstyle\s*="),
        ("style elements", r"<style\b"),
        ("handlers in attributes", r"<[^>]*\s(on[a-z]+|hx-on[:\w-]*)\s*="),
        ("scripts of their own", r"<script\b(?![^>]*\b(src=|type=\"application/json\"))"),
        ("addresses of other hosts", r"""(src|href|action|hx-\w+)\s*=\s*["']\s*(https?:)?//"""),
    ],
)
def test_pages_hold_no(what: str, pattern: str) -> None:
    found = {str(path): match[0] for path in TEMPLATES if (match := re.search(pattern, _markup(path), re.I))}
    assert found == {}, what


def _markup(path: Path) -> str:
    """The page without what Django takes out of it, which may hold `one=` and `>` of its own."""
    return re.sub(r"\{%.*?%\}|\{#.*?#\}|\{\{.*?\}\}", "", _source(path), flags=re.S)


def test_no_tag_of_a_page_goes_over_the_end_of_its_line() -> None:
    """Django takes such a tag for text: people would read it as it is written."""
    lines = [(str(path), line) for path in TEMPLATES for line in _source(path).splitlines()]
    assert [(path, line[:80]) for path, line in lines if any(line.count(a) != line.count(z) for a, z in PAIRS)] == []


def test_the_markup_rules_would_notice() -> None:
    page = '<p {% if one > 2 %}class="a"{% endif %} onclick="go()">'
    assert re.search(r"<[^>]*\s(on[a-z]+)\s*=", re.sub(r"\{%.*?%\}", "", page))


def test_static_files_name_no_other_host() -> None:
    names = {"http://www.w3.org/2000/svg"}  # the name of a language, which nobody asks for
    found = {}
    for path in _tracked():
        if path.parts[0] == "static":
            hosts = (
                set(re.findall(r"(?:https?:)?//[a-z0-9-]+(?:\.[a-z0-9-]+)+[^\s\"'<>)]*", _source(path), re.I)) - names
            )
            found.update({str(path): hosts} if hosts else {})
    assert found == {}


def test_nothing_of_others_is_kept_in_the_repository() -> None:
    """Scripts and styles of others come out of their wheels; files are text that we wrote, or pictures of ours."""
    ours = {
        "",
        ".py",
        ".html",
        ".css",
        ".js",
        ".svg",
        ".png",
        ".md",
        ".txt",
        ".toml",
        ".cedar",
        ".yaml",
        ".lock",
        ".json",
        ".jsonl",
        ".gz",
    }
    strange = [str(path) for path in _tracked() if path.suffix not in ours and not path.name.startswith(".")]
    assert strange == []
    assert {path.parts[:2] for path in _tracked() if path.suffix == ".png"} <= {("docs", "images")}
    banner = re.compile(r"/\*!|@license|copyright|sourceMappingURL|MIT Licen", re.I)
    static = [path for path in _tracked() if path.parts[0] == "static"]
    assert [str(path) for path in static if ".min." in path.name or banner.search(_source(path))] == []
    assert [
        str(path) for path in static if path.suffix == ".js" and max(map(len, _source(path).splitlines())) > 400
    ] == []


def test_pictures_are_light() -> None:
    sizes = {str(path): (ROOT / path).stat().st_size for path in _tracked() if path.suffix == ".png"}
    assert {name: size for name, size in sizes.items() if size > 150_000} == {}
