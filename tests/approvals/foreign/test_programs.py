"""Programs of other frameworks, gated: held, approved, edited and rejected, for two changed lines each.

Each runs in a process of its own, as it would elsewhere, asks a model on the loopback, and waits for people here.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from difflib import ndiff
from pathlib import Path
from typing import Any

import pytest

from agents.models import Step, Team, User
from approvals.models import Approval
from tests.approvals import questions
from tests.approvals.outside import elsewhere
from tests.model_server import Answer, Asked, ModelServer, calls, says

HERE = Path(__file__).parent
EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"
PATIENCE = 60.0
FRAMEWORKS = ("langgraph", "openai")
each = pytest.mark.parametrize("framework", FRAMEWORKS)


def speak(asked: Asked) -> Answer:
    """Refund what the ticket names; then say what came of it."""
    last = asked.body["messages"][-1]
    if last["role"] == "tool":
        return says(f"I was told: {last['content']}")
    return calls(("refund", {"order": last["content"], "amount": 184}))


@pytest.fixture
def server() -> Iterator[ModelServer]:
    """A model that asks for a refund."""
    with ModelServer(answering=speak) as running:
        yield running


@each
def test_gating_a_program_takes_five_changed_lines_at_most(framework: str) -> None:
    before, after = ((HERE / f"{framework}_desk{kind}.py").read_text().splitlines() for kind in ("", "_gated"))
    changed = [line for line in ndiff(before, after) if line[0] in "+-"]
    assert 0 < len(changed) <= 5, changed
    assert any("@gated" in line for line in changed)
    assert len((EXAMPLES / "cockpit_gate.py").read_text().splitlines()) <= 40


@pytest.mark.django_db(transaction=True)
@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume")  # the server of tests knows no ASGI
@each
def test_its_calls_are_held_approved_edited_and_rejected(
    framework: str, team: Team, rhea: User, server: ModelServer, live_server: Any, tmp_path: Path
) -> None:
    elsewhere.published(team, outside={"refund": {"tier": 3, "arguments": elsewhere.SCHEMA}})
    told = {"COCKPIT": f"{live_server.url}/api/v1", "COCKPIT_TOKEN": elsewhere.key(team)[1], "MODEL_URL": server.url}
    said = tmp_path / "said"
    program = start(framework, told, said, "A-1", "A-2", "A-3")
    try:
        questions.settle(asked_about("A-1", program, said), by=rhea)
        edited = {"order": "A-2", "amount": 92}
        questions.settle(asked_about("A-2", program, said), by=rhea, answer="edit", arguments=edited)
        questions.settle(asked_about("A-3", program, said), by=rhea, answer="reject", reason="Paid back already.")
        assert program.wait(PATIENCE) == 0, said.read_text()
    finally:
        program.kill()
    output = said.read_text().splitlines()
    paid = [line.split()[1:] for line in output if line.startswith("PAID")]
    assert [(order, float(amount)) for order, amount in paid] == [("A-1", 184), ("A-2", 92)]
    assert output[-1] == "I was told: Not done: Rejected by rhea: Paid back already."
    assert sorted(Step.objects.values_list("state", flat=True)) == ["done", "done", "refused"]
    assert set(Approval.objects.values_list("state", "executed")) == {
        ("approved", "executed"),
        ("edited", "executed"),
        ("rejected", "not_yet"),
    }


def start(framework: str, told: dict[str, str], said: Path, *tickets: str) -> "subprocess.Popen[bytes]":
    """The gated program with the client beside it, printing into a file. Nothing of this repository is on its path: the
    SDK is called `agents`, as our app is."""
    command = [sys.executable, "-P", str(HERE / f"{framework}_desk_gated.py"), *tickets]
    clean = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    quiet = {"PYTHONPATH": str(EXAMPLES), "LANGSMITH_TRACING": "false"}
    with said.open("wb") as output:
        return subprocess.Popen(
            command, cwd=EXAMPLES, env={**clean, **quiet, **told}, stdout=output, stderr=subprocess.STDOUT
        )


def asked_about(order: str, program: "subprocess.Popen[bytes]", said: Path) -> Approval:
    """The question about this order, once the program has come to it; nothing has been paid by then."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and program.poll() is None:
        if found := Approval.objects.filter(arguments__order=order).first():
            assert found.is_open
            assert f"PAID {order}" not in said.read_text()
            return found
        time.sleep(0.05)
    pytest.fail(f"It never asked about {order}: {said.read_text()}")
