"""Versions of the policies, which stay as they were published: a trigger refuses to change them."""

import django.db.models.deletion
import django.utils.timezone
import uuid_utils.compat
from django.conf import settings
from django.db import migrations, models


REFUSE = """
CREATE TRIGGER policy_set_is_frozen
    BEFORE UPDATE ON approvals_policyset FOR EACH ROW
    WHEN ((OLD.id, OLD.number, OLD.digest, OLD.files, OLD.cases, OLD.surface, OLD.published_at, OLD.published_by_id)
          IS DISTINCT FROM
          (NEW.id, NEW.number, NEW.digest, NEW.files, NEW.cases, NEW.surface, NEW.published_at, NEW.published_by_id))
    EXECUTE FUNCTION cockpit_refuse('published');
CREATE TRIGGER policy_set_is_kept BEFORE DELETE ON approvals_policyset
    FOR EACH ROW EXECUTE FUNCTION cockpit_refuse('published');
"""

ALLOW = """
DROP TRIGGER policy_set_is_kept ON approvals_policyset;
DROP TRIGGER policy_set_is_frozen ON approvals_policyset;
"""


class Migration(migrations.Migration):

    dependencies = [
        ('approvals', '0008_claims'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='PolicySet',
            fields=[
                ('id', models.UUIDField(default=uuid_utils.compat.uuid7, editable=False, primary_key=True, serialize=False)),
                ('number', models.PositiveIntegerField(unique=True)),
                ('digest', models.CharField(help_text='Of policies, cases and surface together.', max_length=64, unique=True)),
                ('files', models.JSONField(help_text='The policies: {file name: Cedar}.')),
                ('cases', models.JSONField(help_text='What it must allow, hold or deny.')),
                ('surface', models.JSONField(help_text='The tools it can speak about, as they were when it was published.')),
                ('state', models.CharField(choices=[('draft', 'draft'), ('log_only', 'log only'), ('enforced', 'enforced'), ('retired', 'retired')], default='draft', max_length=8)),
                ('published_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('enforced_at', models.DateTimeField(help_text='When it began to hold, the last time.', null=True)),
                ('enforced_by', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('published_by', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('replaced', models.ForeignKey(help_text='What held before it; goes back to it.', null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='approvals.policyset')),
            ],
            options={
                'ordering': ['-number'],
            },
        ),
        migrations.CreateModel(
            name='PolicyDifference',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('run_id', models.UUIDField()),
                ('seq', models.PositiveIntegerField()),
                ('agent_id', models.UUIDField()),
                ('agent', models.CharField(max_length=80)),
                ('team_id', models.UUIDField()),
                ('name', models.CharField(max_length=160)),
                ('was', models.CharField(max_length=8)),
                ('would', models.CharField(max_length=8)),
                ('rules', models.JSONField(default=list)),
                ('reason', models.TextField(blank=True)),
                ('at', models.DateTimeField(default=django.utils.timezone.now)),
                ('policy_set', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='differences', to='approvals.policyset')),
            ],
        ),
        migrations.AddConstraint(
            model_name='policyset',
            constraint=models.UniqueConstraint(condition=models.Q(('state', 'enforced')), fields=('state',), name='policy_enforced_once'),
        ),
        migrations.AddConstraint(
            model_name='policyset',
            constraint=models.UniqueConstraint(condition=models.Q(('state', 'log_only')), fields=('state',), name='policy_log_only_once'),
        ),
        migrations.AddIndex(
            model_name='policydifference',
            index=models.Index(fields=['policy_set', '-id'], name='policy_difference_newest'),
        ),
        migrations.AddConstraint(
            model_name='policydifference',
            constraint=models.UniqueConstraint(fields=('policy_set', 'run_id', 'seq'), name='policy_difference_once'),
        ),
        migrations.RunSQL(REFUSE, ALLOW),
    ]
