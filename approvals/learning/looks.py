"""Noting who has opened a question: the time to the first look, and what a reviewer had before their eyes."""

import hashlib
from collections.abc import Sequence

import rfc8785

from agents.contracts import Json
from agents.models import Step, User
from approvals.learning.models import Look
from approvals.models import Approval


def note(approval: Approval, story: Sequence[Step], *, by: User) -> None:
    """Keep that somebody who may answer has opened an open question; opening it again changes nothing."""
    Look.objects.bulk_create([Look(approval=approval, by=by, digest=digest(approval, story))], ignore_conflicts=True)


def digest(approval: Approval, story: Sequence[Step]) -> str:
    """The name of what a question shows: the act it is about, and each step of the story in its state of then."""
    told = [f"{one.seq} {one.kind} {one.name} {one.state}: {one.says}" for one in story]
    document: Json = {"act": approval.digest, "story": told}
    return hashlib.sha256(rfc8785.dumps(document)).hexdigest()
