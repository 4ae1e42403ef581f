"""Migrations only add: workers of the old version go on working beside those of the new one, on the same database.

What an old worker reads must stay, and what it writes must be taken though it knows nothing of a new column.
"""

import re
from collections.abc import Iterator

import pytest
from django.db import migrations, models
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.models import NOT_PROVIDED

APPS = ("agents", "approvals", "finops")
BASELINE = 3
"""Newer ones than this number meet installations that are at work."""

TAKES_AWAY = (migrations.RemoveField, migrations.RenameField, migrations.DeleteModel, migrations.RenameModel)
TAKES_AWAY_SQL = re.compile(r"\bdrop\s+(table|column)\b|\brename\b|\bset\s+not\s+null\b", re.I)


def needs_a_value(field: models.Field) -> bool:
    """Whether a row cannot be written by somebody who does not know this column."""
    if isinstance(field, models.ManyToManyField | models.GeneratedField):
        return False
    return not field.null and field.db_default is NOT_PROVIDED


def is_tighter(new: models.Field, old: models.Field) -> bool:
    """Whether what the old version writes may no longer be taken."""
    shorter = new.max_length is not None and (old.max_length is None or new.max_length < old.max_length)
    return shorter or (old.null and not new.null) or new.get_internal_type() != old.get_internal_type()


def objections(operation: Operation, state: dict[str, dict[str, models.Field]]) -> Iterator[str]:
    """What an old worker could not live with; `state` has the fields of the models that it knows, by lower name."""
    if isinstance(operation, TAKES_AWAY):
        yield f"{operation.describe()}: the old version still uses it"
    elif isinstance(operation, migrations.AddField) and operation.model_name_lower in state:
        if needs_a_value(operation.field):
            yield f"{operation.describe()}: rows of the old version have no value for it; give it a db_default"
    elif isinstance(operation, migrations.AlterField):
        old = state.get(operation.model_name_lower, {}).get(operation.name)
        if old is not None and is_tighter(operation.field, old):
            yield f"{operation.describe()}: the old version may write what it no longer takes"
    elif isinstance(operation, migrations.RunSQL) and TAKES_AWAY_SQL.search(str(operation.sql)):
        yield f"its SQL takes something away: {operation.sql}"
    elif isinstance(operation, migrations.SeparateDatabaseAndState):
        for inner in operation.database_operations:
            yield from objections(inner, state)


def fields_before(loader: MigrationLoader, app: str) -> dict[str, dict[str, models.Field]]:
    """The models of an app as the oldest version that may still be at work knows them."""
    last = max(name for label, name in loader.graph.nodes if label == app and int(name[:4]) <= BASELINE)
    known = loader.project_state((app, last)).models
    return {name: dict(model.fields) for (label, name), model in known.items() if label == app}


def test_newer_migrations_only_add() -> None:
    loader = MigrationLoader(None)
    found = {}
    for label, name in sorted(loader.graph.nodes):
        if label in APPS and int(name[:4]) > BASELINE:
            known = fields_before(loader, label)
            said = [why for one in loader.get_migration(label, name).operations for why in objections(one, known)]
            found.update({f"{label}.{name}": said} if said else {})
    assert found == {}


@pytest.mark.parametrize(
    "operation",
    [
        migrations.RemoveField("run", "objective"),
        migrations.RenameField("run", "objective", "goal"),
        migrations.DeleteModel("Run"),
        migrations.RenameModel("Run", "Walk"),
        migrations.AddField("run", "ripeness", models.CharField(max_length=9, default="green")),
        migrations.AlterField("run", "waiting_for", models.CharField(max_length=20, blank=True)),
        migrations.AlterField("run", "wake_at", models.DateTimeField()),
        migrations.RunSQL("ALTER TABLE agents_run DROP COLUMN objective"),
        migrations.SeparateDatabaseAndState([migrations.RunSQL("ALTER TABLE agents_run RENAME TO agents_walk")]),
    ],
    ids=lambda operation: operation.describe(),
)
def test_what_an_old_worker_cannot_live_with_is_noticed(operation: Operation) -> None:
    assert list(objections(operation, fields_before(MigrationLoader(None), "agents")))


@pytest.mark.parametrize(
    "operation",
    [
        migrations.AddField("run", "ripeness", models.CharField(max_length=9, default="green", db_default="green")),
        migrations.AddField("run", "ripe_at", models.DateTimeField(null=True)),
        migrations.AddField("fruit", "colour", models.CharField(max_length=9)),
        migrations.AlterField("run", "waiting_for", models.CharField(max_length=400, blank=True)),
        migrations.RunSQL("CREATE TABLE fruit (colour text)"),
    ],
    ids=lambda operation: operation.describe(),
)
def test_what_an_old_worker_need_not_know_is_let_through(operation: Operation) -> None:
    assert list(objections(operation, fields_before(MigrationLoader(None), "agents"))) == []
