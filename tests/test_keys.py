"""The sheet of keys is true: what it lists is what the pages answer to, no key more and none less."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
SPELT = {"⏎": "Enter", "Esc": "Escape", "K": "k"}
HELD_DOWN = {"Ctrl"}


def _read(*patterns: str) -> str:
    return "\n".join(path.read_text(encoding="utf-8") for one in patterns for path in sorted(ROOT.glob(one)))


def _shown() -> set[str]:
    """The keys on the sheet; the digits stand there as a span."""
    sheet = _read("templates/components/keys.html").replace("<kbd>1</kbd> … <kbd>9</kbd>", "<kbd>1–9</kbd>")
    return {SPELT.get(key, key) for key in re.findall(r"<kbd>(.+?)</kbd>", sheet)} - HELD_DOWN


def _answered() -> set[str]:
    """The keys of every page: those that the scripts know, and those that a template gives to one of its parts."""
    scripts = _read("static/js/rows.js", "static/js/palette.js")
    table = re.search(r"const KEYS = \{(.+?)\n\};", scripts, re.DOTALL)
    assert table
    known = set(re.findall(r'^  "?(.)"?: \(\) =>', table[1], re.MULTILINE))
    named = set(re.findall(r'event\.key(?:\.toLowerCase\(\))? [!=]== "(.+?)"', scripts))
    given = set(re.findall(r'data-press="([^"{]+)"', _read("templates/**/*.html")))
    return known | named | given | ({"1–9"} if "/^[1-9]$/" in scripts else set())


def test_the_sheet_lists_every_key_and_no_other() -> None:
    assert _shown() == _answered()


def test_no_page_gives_away_a_key_that_means_something_everywhere() -> None:
    given = re.findall(r'data-press="([^"]+)"', _read("templates/**/*.html"))
    assert not set(given) & {"j", "k", "x", "/", "?", "."}
    assert "{" not in "".join(given)  # a key made up by a template would be on no sheet
