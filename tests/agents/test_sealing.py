"""The sealer: every entry gets one place, in the order of transactions, whatever commits late or seals beside it."""

import json
import stat
import threading
from collections.abc import Iterator

import psycopg
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.db import DatabaseError, connection, connections, transaction

from agents import errors
from agents.audit import checkpoints, log, sealing, signing
from agents.audit.canonical import VERSION
from agents.audit.merkle import Frontier
from agents.audit.seals import GENESIS, Seal, chained
from agents.models import AuditEntry, AuditLeaf, AuditSeal

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("folder")]


@pytest.fixture
def other() -> Iterator[psycopg.Connection]:
    """A second connection to the tests' database."""
    place = connection.settings_dict
    with psycopg.connect(
        host=place["HOST"], port=place["PORT"], dbname=place["NAME"], user=place["USER"], password=place["PASSWORD"]
    ) as link:
        yield link


INSERT = """
    INSERT INTO agents_auditentry (at, by_name, verb, outcome, subject_kind, subject_id, subject_name, reason, detail)
    VALUES (now(), 'cockpit', %s, 'done', 'run', '1', '', '', '{}') RETURNING id
"""


def sealed_verbs() -> list[str]:
    return list(AuditLeaf.objects.order_by("seq").values_list("entry__verb", flat=True))


def test_entries_are_chained_and_signed(olga, folder):
    log.record("one", about=olga, by=olga)
    log.record("two", about=olga, by=olga)
    assert sealing.seal() == AuditEntry.objects.count() == AuditLeaf.objects.count()
    seal = Seal.of_row(AuditSeal.objects.get())
    chain, tree = GENESIS, Frontier()
    for leaf in AuditLeaf.objects.order_by("seq"):
        chain = chained(chain, bytes(leaf.leaf))
        tree.add(bytes(leaf.leaf))
        assert bytes(leaf.chain) == chain
    assert (seal.size, seal.chain, seal.root) == (tree.size, chain, tree.root)
    assert seal.is_signed
    assert seal.key == signing.public()
    assert seal.text.startswith(f"{VERSION}\nnumber 1\nsize {tree.size}\n".encode())
    assert [published.text for published in checkpoints.read(checkpoints.path())] == [seal.text]


def test_nothing_new_makes_no_seal(olga):
    sealing.seal()
    assert sealing.seal() == 0
    assert AuditSeal.objects.count() == 1


def test_an_entry_that_commits_late_is_neither_skipped_nor_put_before_its_turn(olga, other):
    sealing.seal()
    other.execute(INSERT, ["late"])  # its transaction, and its number, are the first
    log.record("early", about=olga, by=olga)
    assert sealing.seal() == 0, "what began before it may still come"
    assert sealing.standing().unsealed == 1
    other.commit()
    assert sealing.seal() == 2
    assert sealed_verbs()[-2:] == ["late", "early"]
    log.record("after", about=olga, by=olga)
    assert sealing.seal() == 1
    assert sealed_verbs()[-3:] == ["late", "early", "after"]


def test_what_is_rolled_back_leaves_no_gap(olga, other):
    log.record("one", about=olga, by=olga)
    other.execute(INSERT, ["never"])
    other.rollback()
    log.record("two", about=olga, by=olga)
    sealing.seal()
    assert list(AuditLeaf.objects.order_by("seq").values_list("seq", flat=True)) == list(
        range(1, AuditEntry.objects.count() + 1)
    )


def test_many_are_sealed_in_batches_each_with_its_seal(olga, monkeypatch):
    monkeypatch.setattr(sealing, "BATCH", 10)
    for number in range(35):
        log.record(f"act.{number}", about=olga, by=olga)
    entries = AuditEntry.objects.count()
    assert sealing.seal() == entries
    sizes = list(AuditSeal.objects.order_by("number").values_list("size", flat=True))
    assert sizes == [*range(10, entries, 10), entries]
    assert [seal.tree.root == seal.root for seal in map(Seal.of_row, AuditSeal.objects.all())] == [True] * len(sizes)


def test_a_batch_that_is_just_full_is_followed_by_nothing(olga, monkeypatch):
    monkeypatch.setattr(sealing, "BATCH", AuditEntry.objects.count())
    assert sealing.seal() == sealing.BATCH
    assert sealing.seal() == 0


def test_a_call_is_over_after_its_time_and_the_next_one_goes_on(olga, monkeypatch):
    monkeypatch.setattr(sealing, "BATCH", 1)
    log.record("one", about=olga, by=olga)
    assert sealing.seal(most_s=0) == 1
    assert sealing.standing().unsealed == AuditEntry.objects.count() - 1
    sealing.seal()
    assert sealing.standing().unsealed == 0


def test_any_number_of_ticks_seal_each_entry_once(olga, monkeypatch):
    monkeypatch.setattr(sealing, "BATCH", 7)
    for number in range(60):
        log.record(f"act.{number}", about=olga, by=olga)
    faults: list[Exception] = []

    def tick() -> None:
        try:
            for _ in range(10):
                sealing.seal(most_s=0.01)
        except Exception as fault:
            faults.append(fault)
        finally:
            connections.close_all()

    ticks = [threading.Thread(target=tick) for _ in range(4)]
    for thread in ticks:
        thread.start()
    for thread in ticks:
        thread.join()
    sealing.seal()
    assert faults == []
    assert AuditLeaf.objects.count() == AuditEntry.objects.count()
    numbers = [seal.number for seal in checkpoints.read(checkpoints.path())]
    assert numbers == list(range(1, AuditSeal.objects.count() + 1))


@pytest.mark.parametrize("table", ["agents_auditentry", "agents_auditleaf", "agents_auditseal"])
@pytest.mark.parametrize(
    "change", ["UPDATE {} SET {} = {}", "DELETE FROM {}", "TRUNCATE {} CASCADE"], ids=lambda change: change.split()[0]
)
def test_what_is_sealed_stays(olga, table, change):
    sealing.seal()
    column = {"agents_auditentry": "reason", "agents_auditleaf": "chain", "agents_auditseal": "root"}[table]
    with pytest.raises(DatabaseError, match="immutable"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(change.format(table, column, column))


# --- how far it has come ----------------------------------------------------------------------------------------------
def test_an_entry_that_waits_for_a_minute_is_an_alarm(olga, other):
    sealing.seal()
    standing = sealing.standing()
    assert (standing.unsealed, standing.oldest_unsealed_age_s, standing.is_late) == (0, None, False)
    assert standing.sealed == AuditEntry.objects.count()
    assert standing.last_sealed_at == AuditSeal.objects.get().sealed_at
    log.record("now", about=olga, by=olga)
    assert not sealing.standing().is_late
    other.execute(INSERT.replace("now()", "now() - interval '61 seconds'"), ["before"])
    other.commit()
    late = sealing.standing()
    assert late.is_late
    assert late.unsealed == 2
    assert 61 <= late.oldest_unsealed_age_s < 75


def test_before_the_first_seal_everything_waits(olga):
    standing = sealing.standing()
    assert standing.sealed == 0
    assert standing.unsealed == AuditEntry.objects.count() > 0
    assert standing.last_sealed_at is None


def test_its_question_is_answered_by_an_index(olga):
    """Four thousand sealed entries are not read to count one that is not."""
    AuditEntry.objects.bulk_create(
        AuditEntry(by_name="cockpit", verb="bulk", subject_kind="run", subject_id=str(number))
        for number in range(4_000)
    )
    sealing.seal(most_s=60)
    log.record("one", about=olga, by=olga)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE agents_auditentry")
        cursor.execute("ANALYZE agents_auditleaf")
        last = AuditSeal.objects.order_by("-number").first()
        statement = sealing._WAITING.format(**sealing._BEHIND_SEAL)
        given = {"xid": last.after_xid, "id": last.after_id, "limit": sealing.MOST_COUNTED}
        cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", given)
        plan = cursor.fetchone()[0][0]["Plan"]
    assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 50, plan


# --- the key and the file outside -------------------------------------------------------------------------------------
def test_the_key_is_made_once_for_its_owner_only(folder):
    path = folder / "keys" / "audit_key.pem"
    first = signing.public()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert signing.public() == first
    assert signing.trusted(path) == {first}
    assert [found.name for found in path.parent.iterdir()] == [path.name]


def test_a_key_of_ones_own_is_used(settings, folder, tmp_path):
    key = Ed25519PrivateKey.generate()
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    settings.AUDIT_KEY = key.private_bytes(*form).decode().strip()  # as a setting is read
    assert signing.public() == key.public_key().public_bytes_raw()
    assert not (folder / "keys").exists()
    (tmp_path / "public.pem").write_text(signing.pem(signing.public()))
    assert signing.trusted(tmp_path / "public.pem") == {signing.public()}


@pytest.mark.parametrize("text", ["secret", "-----BEGIN PRIVATE KEY-----\nno\n-----END PRIVATE KEY-----"])
def test_a_setting_that_is_no_key_is_named(settings, text):
    settings.AUDIT_KEY = text
    with pytest.raises(errors.DomainError, match=r"COCKPIT_AUDIT_KEY is no private key in PEM form.*openssl genpkey"):
        signing.private()


def test_a_checkpoint_half_written_is_written_again(olga):
    sealing.seal()
    path = checkpoints.path()
    whole = path.read_text()
    path.write_text(whole[: len(whole) // 2])
    log.record("one", about=olga, by=olga)
    sealing.seal()
    assert [json.loads(text)["number"] for text in path.read_text().splitlines()] == [1, 2]
    assert path.read_text().startswith(whole)


def test_a_host_that_joins_gets_every_checkpoint(olga, settings, tmp_path):
    sealing.seal()
    log.record("one", about=olga, by=olga)
    sealing.seal()
    kept = checkpoints.path().read_text()
    settings.DATA_DIR = tmp_path / "joined"
    assert checkpoints.publish() == 2
    assert checkpoints.publish() == 0
    assert checkpoints.path().read_text() == kept
