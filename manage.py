#!/usr/bin/env python
"""The cockpit's command line: `manage.py up`, `manage.py release publish FILE`, and Django's own."""

import os
import sys
from argparse import ArgumentParser


def main() -> None:
    """Run one management command; a domain error is one sentence, not a traceback."""
    adopt_data_dir(sys.argv)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cockpit.settings")
    if sys.argv[1:2] == ["up"]:  # there is no database yet to set Django up with, and loading it would only take time
        from cockpit.management.commands.up import Command

        Command().run_from_argv(sys.argv)
        return
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


def adopt_data_dir(arguments: list[str]) -> None:
    """`--data-dir` counts before anything else: settings keep their keys in that folder."""
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--data-dir")
    if folder := parser.parse_known_args(arguments)[0].data_dir:
        os.environ["COCKPIT_DATA_DIR"] = os.path.abspath(folder)


if __name__ == "__main__":
    main()
