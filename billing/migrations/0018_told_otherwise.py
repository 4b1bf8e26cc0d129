from typing import Any

import pgtrigger.compiler
import pgtrigger.migrations
from django.db import migrations, models


def _set_boundary(apps: Any, schema_editor: Any) -> None:
    """Write down the last entry from before requests for movements: second persons approved at once until then."""
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(
            """
            INSERT INTO billing_ruleboundary (rule, entry_id)
            SELECT 'approval', coalesce(max(id), 0) FROM billing_ledgerentry
            WHERE recorded_at < coalesce(
                (SELECT min(applied) FROM django_migrations WHERE app = 'billing' AND name LIKE '%movement\\_requests'), now())
            """
        )


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0017_modes_at_stripe'),
    ]

    operations = [
        migrations.CreateModel(
            name='RuleBoundary',
            fields=[
                ('rule', models.CharField(max_length=40, primary_key=True, serialize=False)),
                ('entry_id', models.BigIntegerField(help_text='0: the ledger was empty then.')),
            ],
            options={
                'default_permissions': (),
            },
        ),
        migrations.RunPython(_set_boundary, migrations.RunPython.noop),
        pgtrigger.migrations.RemoveTrigger(
            model_name='balancetransaction',
            name='facts_are_kept',
        ),
        pgtrigger.migrations.RemoveTrigger(
            model_name='payout',
            name='facts_are_kept',
        ),
        pgtrigger.migrations.RemoveTrigger(
            model_name='platformfee',
            name='append_only',
        ),
        migrations.AddField(
            model_name='balancetransaction',
            name='off_by_minor',
            field=models.BigIntegerField(default=0, help_text='By how much that differs in its net.'),
        ),
        migrations.AddField(
            model_name='balancetransaction',
            name='told_otherwise',
            field=models.CharField(blank=True, help_text='What was said of it otherwise: by a file before Stripe itself told of it, or by Stripe later.', max_length=500),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='balancetransaction',
            trigger=pgtrigger.compiler.Trigger(name='facts_are_kept', sql=pgtrigger.compiler.UpsertTriggerSql(condition="WHEN (OLD.stripe_id <> NEW.stripe_id OR OLD.received_at <> NEW.received_at OR NEW.is_from_file AND NOT OLD.is_from_file OR NOT (OLD.is_from_file AND NOT NEW.is_from_file) AND ((OLD.type, OLD.reporting_category, OLD.source, OLD.charge, OLD.payment_intent, OLD.amount_minor, OLD.fee_minor, OLD.net_minor, OLD.currency, OLD.exchange_rate, OLD.description, OLD.available_on, OLD.created_at, OLD.is_live) IS DISTINCT FROM (NEW.type, NEW.reporting_category, NEW.source, NEW.charge, NEW.payment_intent, NEW.amount_minor, NEW.fee_minor, NEW.net_minor, NEW.currency, NEW.exchange_rate, NEW.description, NEW.available_on, NEW.created_at, NEW.is_live) OR OLD.payout_id IS NOT NULL AND NEW.payout_id IS DISTINCT FROM OLD.payout_id OR OLD.payout_id_at_stripe <> '' AND NEW.payout_id_at_stripe <> OLD.payout_id_at_stripe OR OLD.status = 'available' AND NEW.status <> 'available'))", func="RAISE EXCEPTION 'What Stripe booked never changes; the payout that took it along is written down once.';", hash='a21da56b8f772dab8bc8211d5a3c8cd6acea8332', operation='UPDATE', pgid='pgtrigger_facts_are_kept_daae5', table='billing_balancetransaction', when='BEFORE')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='payout',
            trigger=pgtrigger.compiler.Trigger(name='facts_are_kept', sql=pgtrigger.compiler.UpsertTriggerSql(condition='WHEN ((OLD.stripe_id, OLD.amount_minor, OLD.currency, OLD.is_live, OLD.created_at, OLD.received_at) IS DISTINCT FROM (NEW.stripe_id, NEW.amount_minor, NEW.currency, NEW.is_live, NEW.created_at, NEW.received_at) OR OLD.is_automatic IS NOT NULL AND NEW.is_automatic IS DISTINCT FROM OLD.is_automatic)', func="RAISE EXCEPTION 'What Stripe paid out never changes.';", hash='4171e9b1af91a2e9a3dfc014475a3d672fae7cdc', operation='UPDATE', pgid='pgtrigger_facts_are_kept_66580', table='billing_payout', when='BEFORE')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='payout',
            trigger=pgtrigger.compiler.Trigger(name='stays_reconciled', sql=pgtrigger.compiler.UpsertTriggerSql(condition='WHEN (OLD.is_reconciled AND NOT NEW.is_reconciled)', func="\n                    IF NEW.amount_minor IS NOT DISTINCT FROM (\n                        SELECT sum(net_minor) FROM billing_balancetransaction\n                        WHERE payout_id = NEW.id AND currency = NEW.currency AND source <> NEW.stripe_id\n                    ) THEN\n                        RAISE EXCEPTION 'A payout stays reconciled while its balance transactions add up to it.';\n                    END IF;\n                    RETURN NEW;\n                ", hash='562ceefb347cf2475b2692b535c1638ff7e88f66', operation='UPDATE', pgid='pgtrigger_stays_reconciled_48de4', table='billing_payout', when='BEFORE')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='platformfee',
            trigger=pgtrigger.compiler.Trigger(name='never_changes', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'pgtrigger: Cannot update rows from % table', TG_TABLE_NAME;", hash='9d61b01e896b1cf86da6505f2c85aefd6e10da72', operation='UPDATE', pgid='pgtrigger_never_changes_d8380', table='billing_platformfee', when='BEFORE')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='platformfee',
            trigger=pgtrigger.compiler.Trigger(name='is_kept', sql=pgtrigger.compiler.UpsertTriggerSql(func="\n                    IF NOT EXISTS (SELECT FROM billing_balancetransaction WHERE stripe_id = OLD.balance_transaction AND is_from_file) THEN\n                        RAISE EXCEPTION 'Cannot delete a fee of which Stripe itself told.';\n                    END IF;\n                    RETURN OLD;\n                ", hash='574308bc35a4454f72bef606b3877aa383cc4188', operation='DELETE', pgid='pgtrigger_is_kept_e4b1a', table='billing_platformfee', when='BEFORE')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='ruleboundary',
            trigger=pgtrigger.compiler.Trigger(name='append_only', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'pgtrigger: Cannot update or delete rows from % table', TG_TABLE_NAME;", hash='5b6f888c2d618609e0fbc0967bd8d8a86a6e03f1', operation='UPDATE OR DELETE', pgid='pgtrigger_append_only_51b2a', table='billing_ruleboundary', when='BEFORE')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='ruleboundary',
            trigger=pgtrigger.compiler.Trigger(name='never_truncated', sql=pgtrigger.compiler.UpsertTriggerSql(func="\n            IF current_setting('meterdesk.may_truncate', true) IS DISTINCT FROM 'on' THEN\n                RAISE EXCEPTION 'These rows are kept for good: the table is never emptied.';\n            END IF;\n            RETURN NULL;\n        ", hash='d762e1529e0f19a91dc7daf2c3896deafc9aaf37', level='STATEMENT', operation='TRUNCATE', pgid='pgtrigger_never_truncated_4c4cb', table='billing_ruleboundary', when='BEFORE')),
        ),
    ]
