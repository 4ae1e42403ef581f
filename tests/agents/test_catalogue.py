"""Declaring tools: the schema a model reads, what is refused where it is written, and loading a company's files."""

import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agents import errors
from agents.tools import catalogue, tool
from agents.tools.checking import validate
from tests.agents import testshop


# --- what a model reads ----------------------------------------------------------------------------------------------
def test_a_signature_and_its_docstring_become_the_schema_that_a_model_reads():
    spec = catalogue.get("testshop.refund")
    assert spec.description == "Give money back for an order."
    assert spec.schema == {
        "type": "object",
        "additionalProperties": False,
        "required": ["order", "amount"],
        "properties": {
            "order": {"type": "string", "description": "the order number, as `B-1042`"},
            "amount": {"type": ["number", "string"], "pattern": r"^-?\d+(\.\d+)?$", "exclusiveMinimum": 0.0},
            "currency": {"type": "string", "enum": ["EUR", "USD"], "default": "EUR"},
            "on": {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}], "default": None},
        },
    }


def test_a_parameter_may_be_called_like_anything_python_or_pydantic_uses_itself():
    @tool("testshop.names", tier=1, timeout=None)
    def names(title: str, schema: str, copy: bool, model_id: int) -> list[Any]:
        return [title, schema, copy, model_id]

    spec = catalogue.get("testshop.names")
    assert list(spec.schema["properties"]) == ["title", "schema", "copy", "model_id"]
    assert validate(spec, {"title": "a", "schema": "b", "copy": True, "model_id": 1})["model_id"] == 1


def test_a_signature_that_no_model_could_fill_in_is_refused_where_it_is_written():
    with pytest.raises(TypeError, match="the parameter order has no type"):

        @tool("testshop.untyped", tier=1)
        def untyped(order):
            return order

    with pytest.raises(TypeError, match=r"\*\*rest.* cannot be described to a model"):

        @tool("testshop.loose", tier=1)
        def loose(**rest: str) -> None: ...


@pytest.mark.parametrize(
    ("terms", "wrong"),
    [
        ({"timeout": 20}, "timeout is 20"),
        ({"stop_window": timedelta(seconds=-45)}, "stop_window is datetime.timedelta"),
    ],
)
def test_a_time_that_is_none_is_refused_where_it_is_written(terms: dict[str, Any], wrong: str):
    with pytest.raises(TypeError, match=f"testshop.hasty: {wrong}.*; it takes a length of time, such as timedelta"):
        tool("testshop.hasty", tier=2, **terms)(lambda: None)


def test_a_name_that_is_taken_is_refused_with_both_places():
    with pytest.raises(errors.Conflict) as refused:

        @tool("testshop.length", tier=1)
        def again(text: str) -> int:
            return 0

    assert refused.value.message.count("testshop.py:") == 1
    assert refused.value.message.count("test_catalogue.py:") == 1
    assert catalogue.get("testshop.length").function is testshop.length


def test_an_unknown_tool_is_answered_with_one_that_looks_like_it():
    with pytest.raises(errors.Missing, match=r"no tool called 'testshop\.refnd'\. Did you mean testshop\.refund"):
        catalogue.get("testshop.refnd")


# --- loading ---------------------------------------------------------------------------------------------------------
SCRIPT = """
import os, threading
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cockpit.settings")
from django.conf import settings
settings.AGENT_TOOL_MODULES = []
from agents.tools import catalogue
from agents.registry import declarations
from agents import errors
"""


def in_a_workspace(folder: Path, script: str) -> str:
    environment = {"COCKPIT_WORKSPACE": str(folder), "COCKPIT_DATA_DIR": str(folder), "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT + script], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()


def test_a_companys_tools_are_loaded_once_whoever_asks_first(tmp_path):
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "_prices.py").write_text("print('prices'); BAG = 9")
    (tmp_path / "tools" / "orders.py").write_text(
        "from agents.tools import tool\nfrom . import _prices\nprint('orders')\n"
        "@tool('orders.price', tier=1)\ndef price(bags: int) -> int: return bags * _prices.BAG\n"
    )
    told = in_a_workspace(
        tmp_path,
        "threads = [threading.Thread(target=catalogue.get, args=['orders.price']) for _ in range(8)]\n"
        "[thread.start() for thread in threads]; [thread.join() for thread in threads]\n"
        "print(*declarations.declared())",
    )
    assert told.split() == ["prices", "orders", "ask_person", "orders.price"]


def test_a_broken_file_is_named_with_its_line_and_leaves_nothing_behind(tmp_path):
    (tmp_path / "tools").mkdir()
    broken = tmp_path / "tools" / "orders.py"
    broken.write_text(
        "from agents.tools import tool\n"
        "@tool('orders.price', tier=1)\ndef price(bags: int) -> int: return bags\n"
        "price.cost = PRICES\n"
    )
    asking = (
        "for _ in range(2):\n"
        "    try: catalogue.load()\n"
        "    except errors.Invalid as error: print(error.message)\n"
        "print(*declarations._declared)"
    )
    sentence = f"The tools in {broken}, line 4, could not be loaded: NameError: name 'PRICES' is not defined."
    assert in_a_workspace(tmp_path, asking).splitlines() == [sentence, sentence, "ask_person"]
