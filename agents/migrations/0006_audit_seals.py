"""The sealed order of the audit log, signed. What is sealed stays, and the index is what the sealer reads by."""

import agents.audit.transactions
import django.db.models.deletion
from django.db import migrations, models


REFUSE = """
CREATE TRIGGER leaf_is_append_only BEFORE UPDATE OR DELETE ON agents_auditleaf
    FOR EACH ROW EXECUTE FUNCTION cockpit_refuse('sealed');
CREATE TRIGGER leaf_is_never_emptied BEFORE TRUNCATE ON agents_auditleaf
    FOR EACH STATEMENT EXECUTE FUNCTION cockpit_refuse('sealed');
CREATE TRIGGER seal_is_append_only BEFORE UPDATE OR DELETE ON agents_auditseal
    FOR EACH ROW EXECUTE FUNCTION cockpit_refuse('sealed');
CREATE TRIGGER seal_is_never_emptied BEFORE TRUNCATE ON agents_auditseal
    FOR EACH STATEMENT EXECUTE FUNCTION cockpit_refuse('sealed');
"""

ALLOW = """
DROP TRIGGER seal_is_never_emptied ON agents_auditseal;
DROP TRIGGER seal_is_append_only ON agents_auditseal;
DROP TRIGGER leaf_is_never_emptied ON agents_auditleaf;
DROP TRIGGER leaf_is_append_only ON agents_auditleaf;
"""


class Migration(migrations.Migration):

    dependencies = [
        ('agents', '0005_totals'),
    ]

    operations = [
        migrations.CreateModel(
            name='AuditLeaf',
            fields=[
                ('seq', models.BigIntegerField(help_text='From 1, without gaps.', primary_key=True, serialize=False)),
                ('leaf', models.BinaryField(help_text='RFC 6962 leaf hash of `body`.')),
                ('chain', models.BinaryField(help_text='SHA-256 of the chain before and this leaf.')),
                ('body', models.BinaryField(help_text="The entry's canonical form.")),
            ],
        ),
        migrations.CreateModel(
            name='AuditSeal',
            fields=[
                ('number', models.BigIntegerField(help_text='From 1, without gaps.', primary_key=True, serialize=False)),
                ('size', models.BigIntegerField(help_text='How many entries are sealed, this batch included.')),
                ('reach', models.CharField(choices=[('complete', 'Complete'), ('partial', 'Partial'), ('adopting', 'Adopting entries of another cluster')], max_length=8)),
                ('sealed_at', models.DateTimeField(help_text='By the clock of the database.')),
                ('root', models.BinaryField(help_text='RFC 6962 root of all leaves.')),
                ('chain', models.BinaryField(help_text='The chain at the last leaf.')),
                ('key', models.BinaryField(help_text='The Ed25519 public key that it is signed with.')),
                ('signature', models.BinaryField()),
                ('frontier', models.BinaryField(help_text='What it takes to go on with the tree; its root is `root`.')),
                ('cluster', models.CharField(help_text='The database cluster whose transaction ids are meant below.', max_length=20)),
                ('after_xid', agents.audit.transactions.Xid8Field(db_default=agents.audit.transactions.CurrentXid(output_field=models.BigIntegerField()), editable=False, help_text='Entries of earlier transactions are sealed; so are those of it up to `after_id`.')),
                ('after_id', models.BigIntegerField()),
            ],
        ),
        migrations.AddIndex(
            model_name='auditentry',
            index=models.Index(fields=['xid', 'id'], name='audit_sealed_in'),
        ),
        migrations.AddField(
            model_name='auditleaf',
            name='entry',
            field=models.OneToOneField(db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='leaf', to='agents.auditentry'),
        ),
        migrations.AddIndex(
            model_name='auditseal',
            index=models.Index(fields=['size'], name='seal_size'),
        ),
        migrations.RunSQL(REFUSE, ALLOW),
    ]
