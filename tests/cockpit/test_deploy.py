"""What Django itself checks before a release: migrations that match the models, and settings fit for production."""

import os
import subprocess
import sys

import pytest

from cockpit import environment

PRODUCTION = {
    "COCKPIT_URL": "https://cockpit.example",
    "COCKPIT_ALLOWED_HOSTS": "cockpit.example",
    "COCKPIT_DEBUG": "no",
}


@pytest.mark.parametrize(
    "arguments",
    [
        ["makemigrations", "--check", "--dry-run"],
        ["check", "--deploy", "--fail-level", "WARNING"],
    ],
    ids=["migrations match the models", "settings are fit for production"],
)
def test_django_finds_nothing_to_say(arguments):
    command = [sys.executable, "-W", "error", environment.ROOT / "manage.py", *arguments]
    checked = subprocess.run(command, env=os.environ | PRODUCTION, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
