"""That one entry is in the log, shown without the rest of it: the entry, its path in the tree, and the signed seal.

The seal is the first one over the entry: its tree goes on from what the seal before it kept, so a proof reads one batch
however long the log is.
"""

from typing import Any

from agents import errors
from agents.audit import signing
from agents.audit.canonical import VERSION
from agents.audit.merkle import Frontier, leaf_hash, path, root_by
from agents.audit.models import AuditEntry, AuditLeaf, AuditSeal
from agents.audit.seals import Seal


def prove(entry_id: int) -> dict[str, Any]:
    """The proof as JSON: hashes in hexadecimal, `index` from 0."""
    leaf = AuditLeaf.objects.filter(entry_id=entry_id).first()
    if leaf is None:
        known = AuditEntry.objects.filter(pk=entry_id).exists()
        raise errors.Missing(f"Entry {entry_id} is not sealed yet." if known else f"There is no entry {entry_id}.")
    row = AuditSeal.objects.filter(size__gte=leaf.seq).order_by("size", "number").first()
    if row is None:
        raise errors.Conflict(f"No seal is over place {leaf.seq}; manage.py audit verify says what is wrong.")
    seal, before = Seal.of_row(row), _before(row)
    leaves = AuditLeaf.objects.filter(seq__gt=before.size, seq__lte=seal.size).order_by("seq")
    hashes = [bytes(found) for found in leaves.values_list("leaf", flat=True)]
    steps = path(before, hashes, leaf.seq - 1) if before.size + len(hashes) == seal.size else []
    proof = {
        "format": VERSION,
        "entry": bytes(leaf.body).decode(),
        "index": leaf.seq - 1,
        "path": [step.hex() for step in steps],
        "seal": {name: value for name, value in seal.line().items() if name != "frontier"},
        "pem": signing.pem(seal.key),
    }
    if not check(proof):
        raise errors.Conflict(f"Entry {entry_id} is not what was sealed; manage.py audit verify says what is wrong.")
    return proof


def check(proof: dict[str, Any]) -> bool:
    """Whether the entry leads to the root of the seal, and the key that the seal names has signed it."""
    seal = Seal.of_line(proof["seal"])
    leaf = leaf_hash(proof["entry"].encode())
    steps = [bytes.fromhex(step) for step in proof["path"]]
    return seal.is_signed and root_by(steps, leaf, proof["index"], seal.size) == seal.root


def _before(row: AuditSeal) -> Frontier:
    earlier = AuditSeal.objects.filter(number__lt=row.number).order_by("-number").first()
    tree = Seal.of_row(earlier).tree if earlier else Frontier()
    if tree is None:
        raise errors.Conflict(f"The tree kept with seal {row.number - 1} was altered.")
    return tree
