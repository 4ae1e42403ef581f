"""Live delegated runs, which the tick looks for every two seconds."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('agents', '0007_program_sources'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='run',
            index=models.Index(condition=models.Q(('finished_at__isnull', True), ('parent__isnull', False)), fields=['parent'], name='run_delegated'),
        ),
    ]
