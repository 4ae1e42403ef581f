"""What the tests of publishing stand on: a bundle, and the release that was made of it."""

import tomllib
from typing import Any

import pytest

from agents.models import Release, User
from agents.registry import publishing
from tests.agents.releases import TOML


@pytest.fixture
def bundle(governor: User) -> dict[str, Any]:
    return tomllib.loads(TOML)


@pytest.fixture
def release(bundle: dict[str, Any], governor: User) -> Release:
    return publishing.publish(bundle, by=governor)
