"""What counters of all time are kept in, what a process can hold, and how the jobs of the tick go."""

import agents.runs.evidence
import django.contrib.postgres.fields
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('agents', '0004_how_runs_go_on'),
    ]

    operations = [
        migrations.CreateModel(
            name='TickJob',
            fields=[
                ('name', models.CharField(max_length=60, primary_key=True, serialize=False)),
                ('ran_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('late_s', models.FloatField(default=0)),
                ('took_s', models.FloatField(default=0)),
                ('failures', models.BigIntegerField(default=0, help_text='Ever; the next time may have gone well.')),
            ],
        ),
        migrations.AddField(
            model_name='worker',
            name='queues',
            field=models.CharField(blank=True, db_default='', default='', help_text='Classes of runs it takes, with commas.', max_length=60),
        ),
        migrations.AddField(
            model_name='worker',
            name='slots',
            field=models.PositiveIntegerField(db_default=0, default=0, help_text='Runs it can hold at once.'),
        ),
        migrations.CreateModel(
            name='RunTotal',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('count', models.BigIntegerField(default=0)),
                ('seconds', django.contrib.postgres.fields.ArrayField(base_field=models.BigIntegerField(), default=agents.runs.evidence._zeros, size=14)),
                ('seconds_sum', models.FloatField(default=0)),
                ('state', models.CharField(max_length=12)),
                ('failure_class', models.CharField(blank=True, max_length=60)),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('state', 'failure_class'), name='run_total_once')],
            },
        ),
        migrations.CreateModel(
            name='StepTotal',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('count', models.BigIntegerField(default=0)),
                ('seconds', django.contrib.postgres.fields.ArrayField(base_field=models.BigIntegerField(), default=agents.runs.evidence._zeros, size=14)),
                ('seconds_sum', models.FloatField(default=0)),
                ('kind', models.CharField(max_length=8)),
                ('state', models.CharField(max_length=12)),
                ('error_class', models.CharField(blank=True, max_length=60)),
                ('provider', models.CharField(blank=True, max_length=60)),
                ('model', models.CharField(blank=True, max_length=120)),
                ('tokens_in', models.BigIntegerField(default=0)),
                ('tokens_out', models.BigIntegerField(default=0)),
                ('cost', models.DecimalField(decimal_places=8, default=0, max_digits=24)),
                ('unpriced', models.BigIntegerField(default=0)),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('kind', 'state', 'error_class', 'provider', 'model'), name='step_total_once')],
            },
        ),
    ]
