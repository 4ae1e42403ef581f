"""Whatever somebody who owns the database does to the log, `audit verify` finds it and says which entry it is."""

import shutil

import pytest

from agents.audit import checkpoints, log, sealing, signing, stored
from agents.audit.findings import Entry
from agents.audit.merkle import leaf_hash
from agents.audit.seals import chained
from agents.audit.verifying import verify
from agents.models import AuditEntry, AuditLeaf, AuditSeal
from tests.agents.forging import COPY, audit, batch_of, by_force, complaints, form, named, rechain, reseal, truncate

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("folder")]


# --- nothing is wrong -------------------------------------------------------------------------------------------------
def test_a_log_that_nobody_touched_is_said_to_be_so(sealed, olga):
    log.record("act.open", about=olga, by=olga)
    verdict = audit("verify")
    assert verdict.is_intact, verdict.complaints
    entries, seals = AuditLeaf.objects.count(), AuditSeal.objects.count()
    first = AuditEntry.objects.order_by("id").first()
    assert f"{entries} entries under {seals} seals; the first of {first.at:%Y-%m-%dT%H:%M:%S.%fZ}" in verdict.told
    assert f"{seals} seals kept outside were compared" in verdict.told
    assert "1 entry waits for a seal" in verdict.told
    assert verdict.told.endswith("Everything is as it was sealed.\n")


def test_nothing_sealed_is_not_everything_in_order(olga):
    signing.private()
    verdict = audit("verify")
    assert not verdict.is_intact
    assert "Nothing is sealed" in verdict.complaints


def test_without_a_key_nothing_is_checked_and_none_is_made(sealed, folder):
    shutil.rmtree(folder / "keys")
    assert "name its public key with --key" in audit("verify").complaints
    assert not (folder / "keys").exists()


# --- one thing is wrong -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("reason = 'another'", "reason was 'reason 5', is 'another'"),
        ("by_name = 'rhea'", "by_name was 'olga', is 'rhea'"),
        ("by_id = gen_random_uuid()", "by was "),
        ("at = at - interval '1 microsecond'", "at was "),
        ('detail = detail || \'{"amount": "1.5"}\'', "detail was "),
        ("detail = detail || '{\"share\": 0.10}'", "detail was "),
        ("detail = detail || '{\"more\": null}'", "detail was "),
        ("team_id = gen_random_uuid()", "team was "),
        ("request_id = gen_random_uuid()", "request_id was None"),
        ("xid = '1'", "xid was "),
    ],
)
def test_an_altered_entry_is_named_with_what_it_said(sealed, change, told):
    by_force(f"UPDATE agents_auditentry SET {change} WHERE id = %s", sealed[5].pk)
    (complaint,) = complaints()
    assert complaint.startswith(f"altered: {named(AuditEntry(pk=sealed[5].pk, at=sealed[5].at, verb='act.5'))} was alt")
    assert told in complaint


def test_a_deleted_entry_is_named(sealed):
    by_force("DELETE FROM agents_auditentry WHERE id = %s", sealed[5].pk)
    (complaint,) = complaints()
    assert complaint.startswith(f"missing: {named(sealed[5])} was sealed at place")


def test_an_entry_deleted_with_its_place_leaves_a_gap(sealed):
    seq = AuditLeaf.objects.get(entry=sealed[5]).seq
    by_force("DELETE FROM agents_auditleaf WHERE entry_id = %s", sealed[5].pk)
    by_force("DELETE FROM agents_auditentry WHERE id = %s", sealed[5].pk)
    assert complaints() == [f"missing: Place {seq} of the order: what was sealed there is gone."]


def test_two_entries_that_were_swapped_are_named(sealed):
    one, other = sealed[4].pk, sealed[6].pk
    for before, after in ((one, -1), (other, one), (-1, other)):
        by_force("UPDATE agents_auditentry SET id = %s WHERE id = %s", after, before)
    assert complaints() == [
        f"moved: {named(sealed[4])} says now what entry {other} said.",
        f"moved: {named(sealed[6])} says now what entry {one} said.",
    ]


def test_two_places_that_were_swapped_are_named(sealed):
    one, other = (AuditLeaf.objects.get(entry=entry) for entry in (sealed[4], sealed[6]))
    for leaf in (one, other):
        by_force("DELETE FROM agents_auditleaf WHERE seq = %s", leaf.seq)
    for leaf, place in ((one, other), (other, one)):
        AuditLeaf.objects.create(seq=place.seq, entry=leaf.entry, leaf=leaf.leaf, chain=place.chain, body=leaf.body)
    assert sorted(complaints()) == [
        f"moved: {named(sealed[4])} belongs at place {one.seq} and stands at place {other.seq}.",
        f"moved: {named(sealed[6])} belongs at place {other.seq} and stands at place {one.seq}.",
    ]


@pytest.mark.parametrize(
    ("id_", "at", "xid"),
    [
        ("-id", "at", "xid"),
        ("-id", "at - interval '1 day'", "pg_current_xact_id()"),
        ("nextval('agents_auditentry_id_seq')", "at", "xid"),
        ("-id", "at", "'18446744073709551'"),
    ],
    ids=["in its midst", "as if long ago", "among its transactions", "of a transaction to come"],
)
def test_an_entry_that_was_put_in_is_named(sealed, id_, at, xid):
    by_force(COPY.format(id=id_, at=at, xid=xid), sealed[5].pk)
    (complaint,) = complaints()
    assert complaint.startswith("added: entry ")
    assert "act.new by olga) was put in where everything had been sealed before." in complaint


def test_an_entry_put_in_as_if_long_ago_is_named_when_it_has_been_sealed_since(sealed):
    put_in = COPY.format(
        id="nextval('agents_auditentry_id_seq')", at="at - interval '1 day'", xid="pg_current_xact_id()"
    )
    by_force(put_in, sealed[5].pk)
    assert sealing.seal() == 1
    (complaint,) = complaints()
    assert complaint.startswith("added: entry ")
    assert "act.new by olga) was appended after " in complaint


def test_a_sealed_copy_that_was_altered_is_told_apart_from_its_entry(sealed):
    by_force("UPDATE agents_auditleaf SET body = 'x' || body WHERE entry_id = %s", sealed[5].pk)
    assert complaints() == [f"seal: {named(sealed[5])} is as it was sealed, but the sealed copy of it was altered."]


def test_an_entry_altered_with_its_copy_and_its_digest_is_named(sealed):
    reseal(sealed[5], reason="another")
    (complaint,) = complaints()
    assert complaint.startswith(f"altered: {named(sealed[5])} at place ")
    assert "is not what the chain has there" in complaint


def test_an_entry_altered_with_everything_but_the_signature_is_known_by_its_batch(sealed):
    reseal(sealed[5], reason="another")
    rechain()
    first, last = (AuditLeaf.objects.get(seq=seq).entry for seq in batch_of(sealed[5]))
    batch, rest = complaints()
    assert batch.startswith(f"altered: The batch of seal 2, from {Entry.of(form(first))} to {Entry.of(form(last))}, ")
    assert rest.startswith("seal: The chain within the batch of seal 3 was altered; its entries are what was sealed")


def test_a_place_put_in_is_told_apart_from_what_follows_it(sealed):
    after = AuditLeaf.objects.get(entry=sealed[5]).seq
    for leaf in AuditLeaf.objects.filter(seq__gt=after).order_by("-seq"):
        by_force("UPDATE agents_auditleaf SET seq = seq + 1 WHERE seq = %s", leaf.seq)
    number = "nextval('agents_auditentry_id_seq')"
    by_force(COPY.format(id=number, at="at", xid="xid"), sealed[5].pk)
    new = AuditEntry.objects.get(verb="act.new")
    chain = AuditLeaf.objects.get(seq=after).chain
    leaf = leaf_hash(form(new))
    AuditLeaf.objects.create(seq=after + 1, entry=new, leaf=leaf, chain=chained(bytes(chain), leaf), body=form(new))
    assert complaints()[0].startswith(f"added: {named(new)} was put in at place {after + 1}")


@pytest.mark.parametrize("column", ["size", "root", "chain", "signature", "key", "after_id", "sealed_at", "reach"])
def test_an_altered_seal_is_named(sealed, column):
    change = {
        "size": "size + 1",
        "after_id": "after_id + 1",
        "sealed_at": "sealed_at + interval '1 s'",
        "reach": "'partial'",
    }
    by_force(
        f"UPDATE agents_auditseal SET {column} = {change.get(column, f'substr({column}, 2) || chr(7)::bytea')}"
        " WHERE number = 2"
    )
    assert any(line.startswith("seal: Seal 2 of ") for line in complaints())


def test_a_seal_taken_out_is_missed(sealed):
    by_force("DELETE FROM agents_auditseal WHERE number = 2")
    checkpoints.path().unlink()
    assert complaints() == ["seal: Seal 2: gone, or numbered anew."]


# --- the owner starts over --------------------------------------------------------------------------------------------
def test_a_log_cut_off_at_its_end_is_found_by_what_was_published(sealed):
    whole = AuditSeal.objects.order_by("-number").first()
    kept = AuditSeal.objects.get(number=whole.number - 1)
    truncate(kept.size)
    (complaint,) = complaints()
    assert complaint.startswith(f"missing: The log ends with {kept.size} sealed entries, and {whole.size} were at ")
    assert f"{whole.size - kept.size} entries were cut off" in complaint


def test_a_cut_log_that_goes_on_is_found(sealed, olga):
    truncate(AuditSeal.objects.get(number=2).size)
    log.record("act.after", about=olga, by=olga)
    sealing.seal()
    (complaint,) = complaints()
    assert complaint.startswith("checkpoint: 1 published seals (3, of ")


def start_over() -> None:
    by_force("DELETE FROM agents_auditseal")
    by_force("DELETE FROM agents_auditleaf")
    sealing.seal()


def test_a_log_sealed_anew_with_the_same_key_is_found_by_what_was_published(sealed):
    by_force("UPDATE agents_auditentry SET reason = 'another' WHERE id = %s", sealed[5].pk)
    start_over()
    found = complaints()
    assert any(line.startswith("checkpoint: ") and "published seals (1, of " in line for line in found)


def test_a_log_sealed_anew_with_another_key_is_found_by_the_key(sealed, folder, tmp_path):
    (tmp_path / "ours.pem").write_text(signing.pem(signing.public()))
    ours = signing.public()
    (folder / "keys" / "audit_key.pem").unlink()
    checkpoints.path().unlink()
    by_force("UPDATE agents_auditentry SET reason = 'another' WHERE id = %s", sealed[5].pk)
    start_over()
    key = signing.public().hex()[:16]
    with stored.opened() as book:
        report = verify(book, keys={ours})
    assert [str(found) for found in report.findings] == [
        f"key: Seal 1 is signed with {key}…, a key that is not trusted."
    ]


def test_a_key_that_was_changed_is_trusted_when_the_former_one_is_named(sealed, folder, tmp_path, olga):
    (tmp_path / "former.pem").write_text(signing.pem(signing.public()))
    (folder / "keys" / "audit_key.pem").unlink()
    log.record("act.after", about=olga, by=olga)
    sealing.seal()
    assert "seals, 1 the first, are signed with" in complaints()[0]
    assert audit("verify", "--key", str(tmp_path / "former.pem")).is_intact
