"""`python -m tests.benchmarks [NAME]`: servers of its own with fsync on, every benchmark in turn, one table."""

import argparse
import importlib
import os
import pkgutil
import shutil
import tempfile
from pathlib import Path

from cockpit.environment import data_dir
from cockpit.servers import Postgres, Redis
from tests import benchmarks
from tests.benchmarks import peers
from tests.benchmarks.figures import Figure, merge, table


def main() -> None:
    """Run what was asked for; figures that miss their target are printed so, and the command still succeeds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("only", nargs="?", default="", help="a figure's name, or the part of it before the dot")
    parser.add_argument(
        "--peers", default="", help="a folder with what to measure beside us; see tests/benchmarks/peers.py"
    )
    options = parser.parse_args()
    chosen = options.only.partition(".")[0]
    os.environ[peers.VARIABLE] = options.peers
    latest = data_dir() / "bench" / "latest.json"
    found = [module.name for module in pkgutil.iter_modules(benchmarks.__path__)]
    names = sorted(name for name in found if name.startswith("bench_") and chosen in name)
    if not names:
        known = ", ".join(sorted(name.removeprefix("bench_") for name in found if name.startswith("bench_")))
        raise SystemExit(f"There is no benchmark called {chosen!r}; there are {known}.")
    folder = Path(tempfile.mkdtemp(prefix="cockpit-bench-"))
    servers = [Postgres(folder), Redis(folder)]
    figures: list[Figure] = []
    try:
        for server in servers:
            os.environ[server.variable] = server.start().url
        os.environ["COCKPIT_DATA_DIR"] = str(folder)
        os.environ["DJANGO_SETTINGS_MODULE"] = "cockpit.settings"
        prepare()
        for name in names:
            print(f"{name} …", flush=True)
            figures += importlib.import_module(f"tests.benchmarks.{name}").run()
            merge(latest, figures)
    finally:
        for server in reversed(servers):
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)
    print(table(figures))


def prepare() -> None:
    """A migrated database."""
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)


if __name__ == "__main__":
    main()
