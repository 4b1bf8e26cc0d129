import pgtrigger.compiler
import pgtrigger.migrations
from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0003_cache_writes_by_lifetime'),
        ('pricing', '0018_refund_policy'),
    ]

    operations = [
        migrations.CreateModel(
            name='BookCurrency',
            fields=[
            ],
            options={
                'proxy': True,
                'default_permissions': (),
                'indexes': [],
                'constraints': [],
            },
            bases=('pricing.workspace',),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='bookcurrency',
            trigger=pgtrigger.compiler.Trigger(name='keeps_its_currency', sql=pgtrigger.compiler.UpsertTriggerSql(condition='WHEN (OLD.currency IS DISTINCT FROM NEW.currency)', func="\n    -- Whoever is writing the first entry is waited for, and nobody writes one until this change is committed.\n    IF NOT EXISTS (SELECT FROM billing_ledgerentry) THEN\n        LOCK TABLE billing_ledgerentry IN SHARE MODE;\n    END IF;\n    IF EXISTS (SELECT FROM billing_ledgerentry) THEN\n        RAISE EXCEPTION 'The book currency stays %: the ledger has entries in it.', OLD.currency USING ERRCODE = 'restrict_violation';\n    END IF;\n    RETURN NEW;\n", hash='51d992fd34fade86f8df86d2c3825fd9b982f15c', operation='UPDATE OF "currency"', pgid='pgtrigger_keeps_its_currency_c172b', table='pricing_workspace', when='BEFORE')),
        ),
    ]
