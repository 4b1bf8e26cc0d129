import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('pricing', '0015_cache_writes_by_lifetime'),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='rateimport',
            name='rate_import_is_one',
        ),
        migrations.AddField(
            model_name='rateimport',
            name='again_of',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='comparisons', to='pricing.rateimport'),
        ),
        migrations.AddField(
            model_name='rateimport',
            name='holds_from',
            field=models.DateTimeField(blank=True, help_text='Prices without a date hold from then on. Empty: from their acceptance.', null=True),
        ),
        migrations.AddField(
            model_name='rateimport',
            name='release',
            field=models.BinaryField(blank=True, null=True),
        ),
        migrations.AddIndex(
            model_name='ratechange',
            index=models.Index(condition=models.Q(('state', 'rejected')), fields=['source', 'provider', 'model'], name='rate_change_rejected'),
        ),
        migrations.AddConstraint(
            model_name='rateimport',
            constraint=models.UniqueConstraint(condition=models.Q(('again_of', None)), fields=('source', 'sha256', 'providers'), name='rate_import_is_one', violation_error_message='This release was imported already.'),
        ),
        migrations.AddConstraint(
            model_name='rateimport',
            constraint=models.CheckConstraint(condition=models.Q(('again_of', None), ('release', None), _connector='OR'), name='rate_import_keeps_a_release_once'),
        ),
    ]
