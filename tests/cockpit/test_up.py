"""`manage.py up` as somebody at a terminal meets it: real processes in a folder of their own, ended by real signals."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, build_opener

import pytest

from cockpit import environment
from cockpit.processes import wait_until
from cockpit.servers import free_port

pytestmark = pytest.mark.crash
READY_S, END_S = 60.0, 20.0
# Real installations never hear of the servers that the other tests use.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in {"DATABASE_URL", "REDIS_URL"}}
_direct = build_opener(ProxyHandler({}))


@dataclass
class Up:
    """One `manage.py up` and what it says."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]
    log: Path

    @classmethod
    def start(cls, folder: Path, *arguments: str, port: int | None = None, **environ: str) -> "Up":
        folder.mkdir(exist_ok=True)
        port, log = port or free_port(), folder / f"up-{time.monotonic_ns()}.log"
        command = [sys.executable, environment.ROOT / "manage.py", "up", "--no-demo", "--workers", "1", *arguments]
        command += ["--data-dir", folder / "var", "--port", str(port)]
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, env=ENVIRONMENT | environ, start_new_session=True
            )
        return cls(folder, port, process, log)

    @property
    def said(self) -> str:
        return self.log.read_text()

    def ready(self) -> "Up":
        wait_until(lambda: "The cockpit is ready" in self.said or self.process.poll() is not None, seconds=READY_S)
        assert "The cockpit is ready" in self.said, self.said
        return self

    def get(self, path: str) -> tuple[int, str]:
        try:
            with _direct.open(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def ask_to_stop(self, number: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.process.wait(END_S)

    def running(self) -> dict[int, str]:
        """Every process that serves this folder: by its environment, its command line or where it stands."""
        found = {}
        for entry in Path("/proc").iterdir():
            with suppress(OSError):
                if entry.name.isdigit() and str(self.folder) in (
                    f"{(entry / 'cmdline').read_text()}{(entry / 'environ').read_text()}{(entry / 'cwd').readlink()}"
                ):
                    found[int(entry.name)] = (entry / "cmdline").read_text().replace("\0", " ")
        return found

    def child(self, name: str) -> int:
        return int(json.loads((self.folder / "var" / "run" / "children" / f"{name}.json").read_text())["pid"])


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """One instance for all tests that leave it as they found it."""
    instance = Up.start(tmp_path_factory.mktemp("up"))
    try:
        yield instance.ready()
    finally:
        instance.ask_to_stop()


def test_the_first_page_leads_to_the_sign_in(up):
    status, page = up.get("/")
    assert status == 200
    assert 'type="password"' in page


def test_it_lives_and_is_ready(up):
    assert up.get("/healthz") == (200, "ok\n")
    assert wait_until(lambda: up.get("/readyz")[0] == 200, seconds=READY_S), up.get("/readyz")
    parts = json.loads(up.get("/readyz")[1])["parts"]
    assert set(parts) == {"database", "redis", "workers", "tick", "audit"}
    assert all(part["ok"] for part in parts.values())
    assert parts["workers"]["last_sign_of_life_s"] < 15


def test_other_commands_find_it_through_its_folder(up):
    about = up.folder / "var" / "run" / "cockpit.json"
    assert stat.S_IMODE(about.stat().st_mode) == 0o600
    assert json.loads(about.read_text())["pid"] == up.process.pid
    command = [sys.executable, environment.ROOT / "manage.py", "migrate", "--check"]
    found = ENVIRONMENT | {"COCKPIT_DATA_DIR": str(up.folder / "var")}
    subprocess.run(command, env=found, check=True, capture_output=True)


def test_a_second_one_on_the_same_folder_is_told_who_has_it(up):
    second = Up.start(up.folder)
    assert second.process.wait(READY_S) == 1
    assert f"already runs on {up.folder}/var (process {up.process.pid}, http://127.0.0.1:{up.port})" in second.said
    assert second.said.count("\n") == 1


def test_a_taken_port_is_one_sentence_and_starts_nothing(up, tmp_path):
    second = Up.start(tmp_path, port=up.port)
    assert second.process.wait(READY_S) == 1
    assert second.said == f"CommandError: Port {up.port} is taken by another program; choose another one with --port.\n"
    assert not second.running()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--port", "99999"], "--port is 99999; it takes a number from 1 to 65535."),
        (["--workers", "0"], "--workers is 0; it takes 1 or more."),
    ],
)
def test_an_impossible_argument_is_one_sentence(arguments, sentence, tmp_path):
    command = [sys.executable, environment.ROOT / "manage.py", "up", *arguments, "--data-dir", tmp_path]
    refused = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)
    assert (refused.returncode, refused.stderr) == (1, f"CommandError: {sentence}\n")


@pytest.mark.parametrize("name", ["web", "model1", "tick"])
def test_a_child_that_dies_is_started_again_and_it_says_so(up, name):
    before = up.child(name)
    os.kill(before, signal.SIGKILL)
    assert wait_until(lambda: f"{name} was ended by SIGKILL; starting it again" in up.said, seconds=5), up.said

    def answers_again() -> bool:
        with suppress(URLError, OSError, ValueError):
            return up.child(name) != before and up.get("/readyz")[0] == 200
        return False

    assert wait_until(answers_again, seconds=READY_S), up.said


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_two_live_side_by_side_and_a_killed_one_starts_again_where_it_was(up, tmp_path):
    second = Up.start(tmp_path).ready()
    assert (second.get("/healthz")[0], up.get("/healthz")[0]) == (200, 200)
    second.process.kill()
    second.process.wait()
    # At once: whatever has not ended yet is ended by the next start.
    third = Up.start(tmp_path, port=second.port).ready()
    assert third.get("/healthz")[0] == 200
    assert up.get("/healthz")[0] == 200
    assert third.ask_to_stop(signal.SIGTERM) == 0
    assert "has not ended within" not in third.said
    assert not third.running()
    assert not (tmp_path / "var" / "run" / "cockpit.json").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_ctrl_c_while_it_starts_leaves_no_process(tmp_path):
    early = Up.start(tmp_path)
    assert wait_until(lambda: "postgres answers" in early.said, seconds=READY_S)
    assert early.ask_to_stop() == 0
    assert not early.running()
    assert "ready" not in early.said


def test_servers_of_ones_own_are_used_and_none_are_started(tmp_path):
    own = {name: os.environ[name] for name in ("DATABASE_URL", "REDIS_URL")}
    instance = Up.start(tmp_path, **own)
    try:
        instance.ready()
        assert instance.get("/healthz")[0] == 200
        assert not (tmp_path / "var" / "postgres").exists()
        assert not (tmp_path / "var" / "redis").exists()
    finally:
        assert instance.ask_to_stop() == 0


def test_a_database_that_does_not_answer_is_one_sentence(tmp_path):
    nobody = free_port()
    url = f"postgresql://cockpit@127.0.0.1:{nobody}/cockpit"
    instance = Up.start(tmp_path, DATABASE_URL=url, REDIS_URL=os.environ["REDIS_URL"])
    assert instance.process.wait(READY_S) == 1
    assert "The database does not answer" in instance.said
    assert "check DATABASE_URL" in instance.said
    assert "Traceback" not in instance.said


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "var").write_text("a file where the folder should be")
    refused = Up.start(tmp_path)
    assert refused.process.wait(READY_S) == 1
    assert "a folder of your own with --data-dir" in refused.said
    assert refused.said.count("\n") == 1
