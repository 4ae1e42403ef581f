"""What was booked stays booked: triggers refuse to change, remove or empty the ledger, whoever asks."""

from django.db import migrations

REFUSE = """
CREATE TRIGGER ledger_is_append_only BEFORE UPDATE OR DELETE ON finops_ledgerentry
    FOR EACH ROW EXECUTE FUNCTION cockpit_refuse('booked');
CREATE TRIGGER ledger_is_never_emptied BEFORE TRUNCATE ON finops_ledgerentry
    FOR EACH STATEMENT EXECUTE FUNCTION cockpit_refuse('booked');
"""

ALLOW = """
DROP TRIGGER ledger_is_never_emptied ON finops_ledgerentry;
DROP TRIGGER ledger_is_append_only ON finops_ledgerentry;
"""


class Migration(migrations.Migration):
    dependencies = [("finops", "0001_initial"), ("agents", "0002_immutable")]
    operations = [migrations.RunSQL(REFUSE, ALLOW)]
