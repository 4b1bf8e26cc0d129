import django.contrib.postgres.fields
from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0002_rerating'),
    ]

    operations = [
        migrations.AddField(
            model_name='usagerecord',
            name='cache_write_1h_tokens',
            field=models.BigIntegerField(db_default=0, default=0, verbose_name='one-hour cache write tokens'),
        ),
        migrations.AlterField(
            model_name='unpricedgroup',
            name='units',
            field=django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=16), default=list, help_text='Unit kinds to find a rate for.', size=None),
        ),
        # Old records hold no such tokens; 0011 proves it without holding anybody up.
        AddConstraintNotValid(
            model_name='usagerecord',
            constraint=models.CheckConstraint(condition=models.Q(('cache_write_1h_tokens__gte', 0), ('cache_write_1h_tokens__lte', models.F('cache_write_tokens'))), name='usage_1h_writes_are_cache_writes'),
        ),
    ]
