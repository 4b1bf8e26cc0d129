from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0009_notices'),
    ]

    # The wider rule takes the place of the narrower one for whoever writes from now on. What was written by then kept
    # the narrower one, and 0011 reads it again without holding anybody up.
    operations = [
        migrations.RemoveConstraint(
            model_name='ledgerentry',
            name='entry_takes_credits',
        ),
        AddConstraintNotValid(
            model_name='ledgerentry',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('kind__in', ['charge', 'withdrawal', 'expiry']), _negated=True), ('credits__lt', 0), models.Q(('kind__in', ['withdrawal', 'expiry']), ('reverses__isnull', False)), _connector='OR'), name='entry_takes_credits'),
        ),
    ]
