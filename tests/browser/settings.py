"""The product's own settings, with one page more: the gallery, where every component stands beside the others."""

from pathlib import Path

from cockpit.settings import *  # noqa: F403  (settings are made by adding to settings)
from cockpit.settings import TEMPLATES

ROOT_URLCONF = "tests.browser.gallery"
TEMPLATES[0]["DIRS"].append(Path(__file__).parent / "templates")
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # what the cast signs in with
