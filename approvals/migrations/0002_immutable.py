"""What was decided stays as it was: a trigger refuses to change it, whoever asks."""

from django.db import migrations

REFUSE = """
CREATE TRIGGER decision_is_final BEFORE UPDATE ON approvals_decision
    FOR EACH ROW EXECUTE FUNCTION cockpit_refuse('decided');
ALTER TABLE approvals_approval SET (fillfactor = 80);
"""

ALLOW = """
ALTER TABLE approvals_approval RESET (fillfactor);
DROP TRIGGER decision_is_final ON approvals_decision;
"""


class Migration(migrations.Migration):
    dependencies = [("approvals", "0001_initial"), ("agents", "0002_immutable")]
    operations = [migrations.RunSQL(REFUSE, ALLOW)]
