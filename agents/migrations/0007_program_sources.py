"""What a run's program said when it was pinned; and a decision about that as something people ask of runs."""

import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('agents', '0006_audit_seals'),
    ]

    operations = [
        migrations.CreateModel(
            name='ProgramSource',
            fields=[
                ('digest', models.CharField(max_length=64, primary_key=True, serialize=False)),
                ('program', models.CharField(max_length=120)),
                ('files', models.JSONField()),
                ('kept_at', models.DateTimeField(default=django.utils.timezone.now)),
            ],
        ),
        migrations.AlterField(
            model_name='control',
            name='verb',
            field=models.CharField(choices=[('pause', 'Pause'), ('resume', 'Resume'), ('cancel', 'Cancel'), ('freeze', 'Freeze'), ('thaw', 'Thaw'), ('keep', 'go on with its release'), ('move', 'move to the live release')], max_length=8),
        ),
        # Until now a run was pinned to the source of the product itself, which this very version changes.
        migrations.RunSQL(
            "UPDATE agents_run SET program_digest = '' WHERE finished_at IS NULL", migrations.RunSQL.noop
        ),
    ]
