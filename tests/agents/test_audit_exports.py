"""The log outside the database: an export, the proof of one entry, a seal that somebody else keeps."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as tried
from hypothesis import strategies as st

from agents.audit import checkpoints, exports, log, proofs, signing, stored
from agents.audit.verifying import verify
from agents.models import AuditLeaf, AuditSeal
from tests.agents.forging import audit, by_force, complaints, reseal, truncate

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("folder")]


# --- without the database ---------------------------------------------------------------------------------------------
def exported(tmp_path: Path, name: str = "log.jsonl") -> Path:
    place = tmp_path / name
    assert audit("export", str(place)).is_intact
    return place


@pytest.mark.parametrize("name", ["log.jsonl", "log.jsonl.gz"])
def test_an_export_says_the_same_as_the_database(sealed, olga, tmp_path, name):
    log.record("act.open", about=olga, by=olga, words="für später")
    place = exported(tmp_path, name)
    assert place.stat().st_mode & 0o777 == 0o600
    with stored.opened() as book:
        here = verify(book, keys=signing.known())
    assert here.is_intact
    assert here == verify(exports.ExportedBook(place), keys=signing.known())
    verdict = audit("verify", "--export", str(place))
    assert verdict.is_intact
    assert "That key came with the export" in verdict.told
    (tmp_path / "key.pem").write_text(signing.pem(signing.public()))
    words = ["--export", str(place), "--key", str(tmp_path / "key.pem"), "--checkpoints", str(checkpoints.path())]
    verdict = audit("verify", *words)
    assert verdict.is_intact
    assert "came with" not in verdict.told


def test_an_export_of_an_altered_log_says_what_was_altered(sealed, tmp_path):
    by_force("UPDATE agents_auditentry SET reason = 'another' WHERE id = %s", sealed[5].pk)
    by_force("DELETE FROM agents_auditentry WHERE id = %s", sealed[7].pk)
    found = complaints()
    assert len(found) == 2
    assert found == complaints("--export", str(exported(tmp_path)))


ROOT = Path(__file__).parents[2]
Change = Callable[[list[str]], list[str]]


def _first(lines: list[str], kind: str) -> int:
    return next(number for number, line in enumerate(lines) if line.startswith(f'{{"{kind}"'))


def _reword(lines: list[str]) -> list[str]:
    number = next(number for number, line in enumerate(lines) if "act.5" in line)
    return [*lines[:number], lines[number].replace("reason 5", "reason 6"), *lines[number + 1 :]]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_reword, "altered: entry "),
        (lambda lines: lines[:-1], "does not hold what its end tells of"),
        (lambda lines: lines[: _first(lines, "place")] + lines[_first(lines, "place") + 1 :], "Place 1 of the order"),
        (lambda lines: [*lines[:3], '{"place": {}}', *lines[3:]], "line 4, cannot be read as a place"),
        (lambda lines: [*lines[:3], '{"place": nothing', *lines[3:]], "line 4, cannot be read as a place"),
        (lambda lines: lines[1:], "is no audit export"),
        (lambda lines: ["nothing"], "is no audit export"),
    ],
    ids=["altered", "cut", "a place gone", "a place without content", "no JSON", "headless", "something else"],
)
def test_an_export_that_was_changed_is_refused_in_words(sealed, tmp_path, change: Change, told):
    place = exported(tmp_path)
    place.write_text("\n".join(change(place.read_text().splitlines())) + "\n")
    verdict = audit("verify", "--export", str(place))
    assert not verdict.is_intact
    assert told in verdict.complaints


@tried(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_byte_of_what_was_sealed_can_change_unnoticed(sealed, tmp_path, data):
    place = tmp_path / "log.jsonl"
    if not place.exists():
        exported(tmp_path)
    lines = place.read_text().splitlines()
    number = data.draw(st.sampled_from([n for n, line in enumerate(lines) if line.startswith(('{"place"', '{"seal"'))]))
    (kind, content), *_ = json.loads(lines[number]).items()
    field = data.draw(st.sampled_from(sorted(content)))
    text = str(content[field])
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from([digit for digit in "0123456789abcdef" if digit != text[at]]))
    changed = text[:at] + other + text[at + 1 :]
    content[field] = changed
    forged = tmp_path / "forged.jsonl"
    forged.write_text("\n".join([*lines[:number], json.dumps({kind: content}), *lines[number + 1 :]]) + "\n")
    key = tmp_path / "key.pem"
    key.write_text(signing.pem(signing.public()))
    assert not audit("verify", "--export", str(forged), "--key", str(key)).is_intact, f"{kind}.{field}"


# --- one entry, and one seal ------------------------------------------------------------------------------------------
def test_every_entry_can_be_proved_without_the_others(sealed):
    for leaf in AuditLeaf.objects.all():
        proof = proofs.prove(leaf.entry_id)
        assert proofs.check(proof)
        assert not proofs.check({**proof, "entry": proof["entry"].replace("olga", "rhea")})
        assert not proofs.check({**proof, "index": proof["index"] + 1})
    verdict = audit("prove", str(sealed[5].pk))
    assert json.loads(verdict.told)["entry"] == bytes(AuditLeaf.objects.get(entry=sealed[5]).body).decode()


def test_what_cannot_be_proved_is_said(sealed, olga):
    entry = log.record("act.open", about=olga, by=olga)
    assert f"Entry {entry.pk} is not sealed yet." in audit("prove", str(entry.pk)).complaints
    assert "There is no entry 999999." in audit("prove", "999999").complaints
    reseal(sealed[5], reason="another")
    assert "is not what was sealed" in audit("prove", str(sealed[5].pk)).complaints


def test_a_seal_given_to_somebody_else_finds_a_log_cut_off(sealed, tmp_path):
    out = tmp_path / "elsewhere.jsonl"
    assert audit("checkpoint", "--out", str(out)).is_intact
    assert audit("checkpoint").told == out.read_text()
    assert audit("verify", "--checkpoints", str(out)).is_intact
    truncate(AuditSeal.objects.get(number=2).size)
    checkpoints.path().unlink()
    assert audit("verify").is_intact, "nobody can tell"
    assert complaints("--checkpoints", str(out))[0].startswith("missing: The log ends with ")


def test_an_export_is_checked_where_there_is_neither_database_nor_installation(sealed, tmp_path):
    place = exported(tmp_path)
    key = tmp_path / "key.pem"
    key.write_text(signing.pem(signing.public()))
    nowhere = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none", "REDIS_URL": "redis://127.0.0.1:1/0"}
    environment = {**os.environ, **nowhere, "COCKPIT_DATA_DIR": str(tmp_path / "nothing")}
    command = [sys.executable, "manage.py", "audit", "verify", "--export", str(place), "--key", str(key)]
    told = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT)
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.endswith("Everything is as it was sealed.\n")
    place.write_text(place.read_text().replace("reason 5", "reason 6"))
    told = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT)
    assert told.returncode == 1
    assert told.stderr.startswith("altered: entry ")
    assert told.stderr.endswith("CommandError: The log is NOT what was sealed.\n")
