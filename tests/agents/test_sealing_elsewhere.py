"""A dump of the database, restored in another cluster, where transaction ids begin anew."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
from django.conf import settings as configured
from django.db import connection

from agents.audit import log, sealing
from agents.models import AuditEntry, AuditSeal, User
from cockpit.servers import Postgres

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("folder")]
ROOT = Path(__file__).parents[2]

GOES_ON = """
import django, json
django.setup()
from agents.audit import log, sealing, signing, stored
from agents.audit.verifying import verify
from agents.models import AuditLeaf, AuditSeal, User

def look():
    standing = sealing.standing()
    with stored.opened() as book:
        report = verify(book, keys=signing.known())
    told.append([report.is_intact, report.entries, report.unsealed, standing.unsealed, *map(str, report.findings)])

told = []
olga = User.objects.get(username="olga")
look()
log.record("act.before", about=olga, by=olga)
while sealing.seal():
    pass
look()
log.record("act.after", about=olga, by=olga)
look()
sealing.seal()
look()
verbs = list(AuditLeaf.objects.order_by("seq").values_list("entry__verb", flat=True))
reaches = list(AuditSeal.objects.order_by("number").values_list("reach", flat=True))
print(json.dumps({"told": told, "verbs": verbs, "reaches": reaches}))
"""


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Postgres]:
    server = Postgres(tmp_path / "elsewhere", test=True)
    try:
        yield server.start()
    finally:
        server.stop()


def here() -> str:
    """The tests' own database."""
    return urlunsplit(urlsplit(configured.DATABASE_URL)._replace(path=f"/{connection.settings_dict['NAME']}"))


def use_up(transactions: int) -> None:
    """This cluster's ids go far beyond those of a new one."""
    with connection.cursor() as cursor:
        each = "PERFORM pg_current_xact_id(); COMMIT;"
        cursor.execute(f"DO $$ BEGIN FOR i IN 1..{transactions} LOOP {each} END LOOP; END $$")


def test_a_restored_log_is_intact_and_sealing_goes_on(olga: User, folder: Path, elsewhere: Postgres) -> None:
    use_up(5000)
    for number in range(3):
        log.record(f"act.{number}", about=olga, by=olga, share=0.10)
        sealing.seal()
    sealed = AuditSeal.objects.order_by("-number").first()
    log.record("act.open", about=olga, by=olga)
    log.record("act.too", about=olga, by=olga)
    restore(elsewhere, folder)
    environment = {
        **os.environ,
        "DATABASE_URL": elsewhere.url,
        "COCKPIT_DATA_DIR": str(folder),
        "PYTHONPATH": str(ROOT),
    }
    told = subprocess.run([sys.executable, "-c", GOES_ON], env=environment, capture_output=True, text=True, cwd=ROOT)
    assert told.returncode == 0, told.stderr
    answer = json.loads(told.stdout)
    entries = AuditEntry.objects.count()
    assert answer["told"] == [
        [True, sealed.size, 2, 2],
        [True, entries + 1, 0, 0],
        [True, entries + 1, 1, 1],
        [True, entries + 2, 0, 0],
    ]
    assert answer["verbs"][-4:] == ["act.open", "act.too", "act.before", "act.after"]
    assert answer["reaches"] == ["complete"] * sealed.number + ["partial", "complete", "complete"]


def restore(elsewhere: Postgres, folder: Path) -> None:
    """As the README says: pg_dump here, pg_restore there."""
    dump = folder / "cockpit.dump"
    tools = elsewhere.binary()
    for command in (
        [tools.with_name("pg_dump"), "--format=custom", f"--file={dump}", here()],
        [tools.with_name("pg_restore"), "--single-transaction", f"--dbname={elsewhere.url}", str(dump)],
    ):
        subprocess.run(command, check=True, capture_output=True, text=True)
