"""What may change about a run besides its program: parameters, the runs it delegates to, tries, taking acts back."""

import django.db.models.deletion
import django.utils.timezone
import uuid_utils.compat
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('agents', '0003_recordings_stay'),
    ]

    operations = [
        migrations.CreateModel(
            name='Override',
            fields=[
                ('id', models.UUIDField(default=uuid_utils.compat.uuid7, editable=False, primary_key=True, serialize=False)),
                ('parameter', models.CharField(max_length=120)),
                ('before', models.JSONField(null=True)),
                ('value', models.JSONField(null=True)),
                ('reason', models.TextField()),
                ('request_id', models.UUIDField(unique=True)),
                ('made_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('expires_at', models.DateTimeField(null=True)),
                ('ended_at', models.DateTimeField(null=True)),
                ('ended_because', models.TextField(blank=True)),
            ],
        ),
        migrations.CreateModel(
            name='StepAttempt',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('seq', models.PositiveIntegerField()),
                ('number', models.PositiveSmallIntegerField()),
                ('started_at', models.DateTimeField()),
                ('finished_at', models.DateTimeField()),
                ('error_class', models.CharField(max_length=60)),
                ('error', models.TextField()),
                ('provider', models.CharField(blank=True, max_length=60)),
                ('model', models.CharField(blank=True, max_length=120)),
                ('cost', models.DecimalField(decimal_places=8, max_digits=16, null=True)),
                ('due_at', models.DateTimeField(help_text='When the next try was to come; null when there was none.', null=True)),
            ],
        ),
        migrations.AddField(
            model_name='agent',
            name='tuning',
            field=models.PositiveIntegerField(db_default=0, default=0, help_text='Rises with each change of its parameters.'),
        ),
        migrations.AddField(
            model_name='run',
            name='cost_below',
            field=models.DecimalField(db_default=0, decimal_places=8, default=0, help_text='Of the runs it delegated to, all the way down.', max_digits=16),
        ),
        migrations.AddField(
            model_name='run',
            name='depth',
            field=models.PositiveSmallIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='run',
            name='ending',
            field=models.JSONField(help_text='How it ends when its acts are taken back: {state, failure_class, failure}.', null=True),
        ),
        migrations.AddField(
            model_name='run',
            name='parent',
            field=models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='children', to='agents.run'),
        ),
        migrations.AddField(
            model_name='run',
            name='parent_seq',
            field=models.PositiveIntegerField(null=True),
        ),
        migrations.AddField(
            model_name='run',
            name='question',
            field=models.JSONField(help_text='A decision about the run itself that a person is asked for.', null=True),
        ),
        migrations.AddField(
            model_name='run',
            name='tuning',
            field=models.PositiveIntegerField(db_default=0, default=0, help_text='Rises with each change of its parameters.'),
        ),
        migrations.AddField(
            model_name='run',
            name='waits',
            field=models.CharField(blank=True, choices=[('', 'Nothing'), ('approval', 'approval'), ('doubt', 'a person to say what happened'), ('decision', 'a person to decide how it goes on'), ('timer', 'its timer'), ('retry', 'the next try'), ('capacity', 'capacity'), ('delegation', 'delegated runs')], db_default='', default='', max_length=12),
        ),
        migrations.AddField(
            model_name='step',
            name='compensates',
            field=models.PositiveIntegerField(help_text='The seq of the act that this one takes back.', null=True),
        ),
        migrations.AddField(
            model_name='step',
            name='due_at',
            field=models.DateTimeField(help_text='When it is tried again.', null=True),
        ),
        migrations.AlterField(
            model_name='step',
            name='kind',
            field=models.CharField(choices=[('model', 'Model'), ('tool', 'Tool'), ('wait', 'Wait'), ('delegate', 'Delegate')], max_length=8),
        ),
        migrations.AddIndex(
            model_name='run',
            index=models.Index(condition=models.Q(('parent__isnull', False)), fields=['parent', 'parent_seq'], name='run_parent'),
        ),
        migrations.AddField(
            model_name='override',
            name='agent',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='overrides', to='agents.agent'),
        ),
        migrations.AddField(
            model_name='override',
            name='by',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='override',
            name='ended_by',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='override',
            name='run',
            field=models.ForeignKey(db_index=False, null=True, on_delete=django.db.models.deletion.CASCADE, related_name='overrides', to='agents.run'),
        ),
        migrations.AddField(
            model_name='stepattempt',
            name='run',
            field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='attempts', to='agents.run'),
        ),
        migrations.AddIndex(
            model_name='override',
            index=models.Index(fields=['agent', '-made_at'], name='override_agent'),
        ),
        migrations.AddIndex(
            model_name='override',
            index=models.Index(condition=models.Q(('run__isnull', False)), fields=['run', '-made_at'], name='override_run'),
        ),
        migrations.AddIndex(
            model_name='override',
            index=models.Index(condition=models.Q(('ended_at__isnull', True)), fields=['expires_at'], name='override_due'),
        ),
        migrations.AddConstraint(
            model_name='override',
            constraint=models.UniqueConstraint(condition=models.Q(('ended_at__isnull', True), ('run__isnull', False)), fields=('run', 'parameter'), name='override_run_once'),
        ),
        migrations.AddConstraint(
            model_name='override',
            constraint=models.UniqueConstraint(condition=models.Q(('ended_at__isnull', True), ('run__isnull', True)), fields=('agent', 'parameter'), name='override_agent_once'),
        ),
        migrations.AddConstraint(
            model_name='stepattempt',
            constraint=models.UniqueConstraint(fields=('run', 'seq', 'number'), name='attempt_once'),
        ),
    ]
