

from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('approvals', '0004_looks'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name='decision',
            name='round',
            field=models.PositiveSmallIntegerField(db_default=1, default=1, help_text='Votes of one round are for one digest; an edit begins the next.'),
        ),
        migrations.AddConstraint(
            model_name='decision',
            constraint=models.UniqueConstraint(fields=('approval', 'by', 'round'), name='decision_one_vote_each'),
        ),
    ]
