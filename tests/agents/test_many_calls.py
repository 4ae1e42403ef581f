"""Many calls of models at once, forked children, and workers that ask no real model."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.agents.asking import ask, failure, link, said
from tests.model_server import Answer, Asked, ModelServer, says, silence

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


@pytest.mark.django_db(transaction=True)
def test_many_drivers_get_answers_each_its_own_and_no_connection_is_left_behind() -> None:
    def repeat(asked: Asked) -> Answer:
        return says(f"You said {asked.question}", delay=0.2)

    drivers = 120
    with ModelServer(answering=repeat) as server, ThreadPoolExecutor(drivers) as pool:
        numbers = range(2 * drivers)
        asking = [pool.submit(ask, link(server), messages=[said("user", str(number))]) for number in numbers]
        words = [one.result().message["parts"][0]["content"] for one in asking]
        assert words == [f"You said {number}" for number in numbers]
        assert server.connections < 2 * drivers  # most are used again
        server.script(*[silence()] * 50)
        late = [pool.submit(failure, link(server, "late"), timeout=2.0) for _ in range(50)]
        assert [one.result().kind for one in late] == ["timeout"] * 50
        assert server.wait(lambda: len(server.disconnects) == 50)
        ask(link(server))  # a pool looks after its idle connections when it is used
        assert server.wait(lambda: server.open_connections <= server.connections - 50)


def run_python(script: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-c", script, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


FORKING = """
import os, sys, django
django.setup()
from agents.cancellation import Cancellation
from agents.contracts import ModelRequest
from agents.llm import gateway

def ask():
    chain = [{"provider": "roastery", "model": "bean-1", "base_url": sys.argv[1]}]
    messages = [{"role": "user", "parts": [{"type": "text", "content": "hello"}]}]
    request = ModelRequest(chain, messages, [], {}, 1, "key", 10.0)
    return gateway.ask(request, Cancellation()).message["parts"][0]["content"]

ask()
child = os.fork()
if not child:
    os._exit(0 if ask() == "Good morning." else 3)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
print(ask())
"""


def test_a_forked_child_calls_on_a_loop_and_connections_of_its_own(server: ModelServer) -> None:
    assert run_python(FORKING, server.url) == "Good morning.\n"
    assert len(server.asked) == 3
    assert server.connections == 2


def test_a_worker_without_real_models_never_loads_a_providers_library() -> None:
    script = "import sys, django; django.setup(); from agents.llm import gateway; "
    script += "print(sorted({'openai', 'pydantic_ai'} & set(sys.modules)))"
    assert run_python(script) == "[]\n"
