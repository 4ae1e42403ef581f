#!/usr/bin/env python
"""The cockpit's command line: `manage.py up`, `manage.py release publish FILE`, and Django's own."""

import os
import sys


def main() -> None:
    """Run one management command; a domain error is one sentence, not a traceback."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cockpit.settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
