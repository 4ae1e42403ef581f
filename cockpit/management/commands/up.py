"""`manage.py up`: the whole cockpit from one command, until Ctrl-C."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from cockpit import environment
from cockpit.installation import Installation
from cockpit.servers import ServerError


class Command(BaseCommand):
    """Reads the command line; what cannot work is refused in one sentence."""

    help = "Run the whole cockpit on this machine: database, courier, web server, workers, clock, demo fleet."
    requires_system_checks = []  # they may ask a database that is not there yet

    def add_arguments(self, parser: ArgumentParser) -> None:
        """manage.py has read --data-dir before the settings were; here it stands for --help."""
        parser.add_argument("--port", type=int, default=8000, help="of the web server on 127.0.0.1 (default 8000)")
        parser.add_argument("--data-dir", help="where everything is kept (default: COCKPIT_DATA_DIR, else var/)")
        parser.add_argument("--no-demo", action="store_true", help="no demo people and no demo fleet")
        parser.add_argument("--workers", type=int, default=2, help="processes for runs that ask models (default 2)")

    def run_from_argv(self, argv: list[str]) -> None:
        """As Django's own, without closing connections at the end: nobody has read settings, and nobody needs to."""
        self._called_from_command_line = True
        options = vars(self.create_parser(*argv[:2]).parse_args(argv[2:]))
        try:
            self.handle(**options)
        except CommandError as error:
            self.stderr.write(f"CommandError: {error}")
            sys.exit(error.returncode)

    def handle(self, *, port: int, no_demo: bool, workers: int, **_: Any) -> None:
        """Run until somebody says stop."""
        if not 1 <= port <= 65535:
            raise CommandError(f"--port is {port}; it takes a number from 1 to 65535.")
        if workers < 1:
            raise CommandError(f"--workers is {workers}; it takes 1 or more.")
        try:
            Installation(environment.data_dir(), port=port, demo=not no_demo, workers=workers).run()
        except ServerError as error:
            raise CommandError(str(error)) from error
