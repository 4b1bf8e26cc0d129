from django.contrib.postgres.operations import ValidateConstraint
from django.db import migrations, models

from config.base.live_migration import AddIndexBesideWriters


class Migration(migrations.Migration):

    # Reads all usage and the whole ledger, hours on a large one. Everybody goes on reading and writing meanwhile, and a
    # run that was broken off is run again.
    atomic = False

    dependencies = [
        ('billing', '0010_entries_undone'),
    ]

    operations = [
        ValidateConstraint(
            model_name='usagerecord',
            name='usage_1h_writes_are_cache_writes',
        ),
        ValidateConstraint(
            model_name='ledgerentry',
            name='entry_takes_credits',
        ),
        AddIndexBesideWriters(
            model_name='ledgerentry',
            index=models.Index(condition=models.Q(('actor__startswith', 'user:'), ('kind__in', ('grant', 'adjustment', 'transfer', 'refund')), ('payment__isnull', True), ('approved_by__isnull', True)), fields=['wallet', 'actor', 'recorded_at'], name='entry_by_one_person'),
        ),
    ]
