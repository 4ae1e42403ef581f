"""The audit page in a browser: how far it is sealed, and the alarm when it is not, are fit for everyone."""

from datetime import timedelta

import pytest
from django.utils import timezone

from agents.audit import log, sealing
from agents.models import AuditEntry, Role
from tests import factories

pytestmark = pytest.mark.browser


def test_sealed_unsealed_and_late_are_told_in_words(page, sign_in, tidy, settings, tmp_path):
    settings.DATA_DIR = tmp_path
    ada = factories.person("ada", Role.ADMIN)
    agent = factories.agent("desk")
    run = factories.run(agent, by=ada)
    log.record("run.pause", about=run, by=ada, reason="Look at this.")
    sealing.seal()
    log.record("run.resumed", about=run, by=ada, reason="All is well.")
    log.record("run.cancel", about=run, by=ada, outcome="denied")
    sign_in(ada)
    page.goto("/audit/")
    assert page.locator("#sealing").inner_text().startswith("Sealed up to ")
    assert page.get_by_text("not sealed yet").count() == 2
    tidy()
    late = timezone.now() - timedelta(seconds=90)
    AuditEntry.objects.create(at=late, by=ada, by_name="ada", verb="act", subject_kind="user", subject_id=str(ada.pk))
    page.reload()
    assert page.get_by_role("alert").inner_text().startswith("Not sealed")
    tidy()
