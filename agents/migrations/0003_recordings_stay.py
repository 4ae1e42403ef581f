"""A recording is named by its content, so its content stays."""

from django.db import migrations

REFUSE = """
CREATE TRIGGER recording_is_frozen BEFORE UPDATE ON agents_recording
    FOR EACH ROW EXECUTE FUNCTION cockpit_refuse('recorded');
"""
ALLOW = "DROP TRIGGER recording_is_frozen ON agents_recording;"


class Migration(migrations.Migration):
    dependencies = [("agents", "0002_immutable")]
    operations = [migrations.RunSQL(REFUSE, ALLOW)]
