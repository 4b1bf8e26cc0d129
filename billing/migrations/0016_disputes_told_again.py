"""A dispute may be lost after it was won: when Stripe said what is known, and what took the credits before."""

import django.contrib.postgres.fields
import pgtrigger.compiler
import pgtrigger.migrations
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0015_stripe_event_queues'),
    ]

    operations = [
        migrations.AddField(
            model_name='dispute',
            name='earlier_withdrawals',
            field=django.contrib.postgres.fields.ArrayField(base_field=models.BigIntegerField(), blank=True, default=list, size=None),
        ),
        migrations.AddField(
            model_name='dispute',
            name='movement_count',
            field=models.PositiveSmallIntegerField(default=0, help_text='Of the money, that Stripe knew of by then.'),
        ),
        migrations.AddField(
            model_name='dispute',
            name='told_at',
            field=models.DateTimeField(null=True, help_text="By Stripe's clock. What it said before counts no more."),
        ),
        # What is known so far was heard then, and said before.
        migrations.RunSQL('UPDATE billing_dispute SET told_at = changed_at', migrations.RunSQL.noop),
        migrations.AlterField(
            model_name='dispute',
            name='told_at',
            field=models.DateTimeField(help_text="By Stripe's clock. What it said before counts no more."),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='dispute',
            trigger=pgtrigger.compiler.Trigger(name='withdrawals_are_kept', sql=pgtrigger.compiler.UpsertTriggerSql(condition='WHEN ((OLD.stripe_id, OLD.topup_id, OLD.opened_at) IS DISTINCT FROM (NEW.stripe_id, NEW.topup_id, NEW.opened_at) OR NEW.earlier_withdrawals IS DISTINCT FROM CASE WHEN OLD.withdrawal IS NULL OR NEW.withdrawal IS NOT DISTINCT FROM OLD.withdrawal THEN OLD.earlier_withdrawals ELSE OLD.earlier_withdrawals || OLD.withdrawal END OR OLD.withdrawal IS NOT NULL AND NEW.withdrawal IS NULL OR NEW.told_at < OLD.told_at)', func="RAISE EXCEPTION 'What a dispute moved in the ledger never changes, and it only follows later news.';", hash='6c70f091adcd06374c91b07fa6e0dad4aa7334d7', operation='UPDATE', pgid='pgtrigger_withdrawals_are_kept_f4370', table='billing_dispute', when='BEFORE')),
        ),
    ]
