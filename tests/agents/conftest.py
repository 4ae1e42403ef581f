"""What the tests of publishing stand on, a bundle and its release, and those of sealing: a data folder and a log."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from agents.audit import log, sealing
from agents.models import AuditEntry, AuditSeal, Release, User
from agents.registry import publishing
from tests.agents.releases import TOML


@pytest.fixture
def bundle(governor: User) -> dict[str, Any]:
    return tomllib.loads(TOML)


@pytest.fixture
def release(bundle: dict[str, Any], governor: User) -> Release:
    return publishing.publish(bundle, by=governor)


@pytest.fixture
def folder(settings, tmp_path: Path) -> Path:
    """An installation's data folder of its own: its key and its checkpoints."""
    settings.DATA_DIR = tmp_path / "data"
    return settings.DATA_DIR


@pytest.fixture
def sealed(olga: User, folder: Path) -> list[AuditEntry]:
    """A log of several seals, nothing open."""
    for number in range(12):
        log.record(f"act.{number}", about=olga, by=olga, reason=f"reason {number}", amount="1.50", share=0.1)
        if number % 4 == 3:
            sealing.seal()
    assert AuditSeal.objects.count() >= 3
    return list(AuditEntry.objects.filter(verb__startswith="act.").order_by("id"))
