"""What was published or recorded stays as it was: triggers refuse to change it, whoever asks.

Runs are updated at every checkpoint, so their pages keep room for it (HOT updates touch no index).
"""

from django.db import migrations

REFUSE = """
CREATE FUNCTION cockpit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% rows of % are immutable', TG_ARGV[0], TG_TABLE_NAME USING ERRCODE = '42501';
END $$;

CREATE TRIGGER audit_is_append_only BEFORE UPDATE OR DELETE ON agents_auditentry
    FOR EACH ROW EXECUTE FUNCTION cockpit_refuse('audit');
CREATE TRIGGER audit_is_never_emptied BEFORE TRUNCATE ON agents_auditentry
    FOR EACH STATEMENT EXECUTE FUNCTION cockpit_refuse('audit');

CREATE TRIGGER release_content_is_frozen
    BEFORE UPDATE ON agents_release FOR EACH ROW
    WHEN ((OLD.id, OLD.agent_id, OLD.version, OLD.digest, OLD.program, OLD.bundle, OLD.published_at)
          IS DISTINCT FROM (NEW.id, NEW.agent_id, NEW.version, NEW.digest, NEW.program, NEW.bundle, NEW.published_at))
    EXECUTE FUNCTION cockpit_refuse('published');
CREATE TRIGGER release_is_kept BEFORE DELETE ON agents_release
    FOR EACH ROW EXECUTE FUNCTION cockpit_refuse('published');

ALTER TABLE agents_run SET (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.05);
ALTER TABLE agents_step SET (fillfactor = 85);
"""

ALLOW = """
DROP TRIGGER release_is_kept ON agents_release;
DROP TRIGGER release_content_is_frozen ON agents_release;
DROP TRIGGER audit_is_never_emptied ON agents_auditentry;
DROP TRIGGER audit_is_append_only ON agents_auditentry;
DROP FUNCTION cockpit_refuse;
ALTER TABLE agents_run RESET (fillfactor, autovacuum_vacuum_scale_factor);
ALTER TABLE agents_step RESET (fillfactor);
"""


class Migration(migrations.Migration):
    dependencies = [("agents", "0001_initial")]
    operations = [migrations.RunSQL(REFUSE, ALLOW)]
