import pgtrigger.compiler
import pgtrigger.migrations
from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0011_large_tables'),
    ]

    # After the index that they read.
    operations = [
        pgtrigger.migrations.AddTrigger(
            model_name='ledgerentry',
            trigger=pgtrigger.compiler.Trigger(name='one_person_moves_within_the_limit', sql=pgtrigger.compiler.UpsertTriggerSql(condition="WHEN (NEW.kind IN ('grant', 'adjustment', 'transfer', 'refund') AND NEW.actor LIKE 'user:%' AND NEW.payment_id IS NULL AND NEW.approved_by_id IS NULL)", func="\n    PERFORM FROM billing_wallet WHERE id = NEW.wallet_id FOR NO KEY UPDATE;\n    IF (SELECT sum(abs(credits)) FROM (\n            SELECT sum(credits) AS credits FROM billing_ledgerentry\n            WHERE wallet_id = NEW.wallet_id AND actor = NEW.actor AND recorded_at > NEW.recorded_at - interval '24 hours'\n              AND kind IN ('grant', 'adjustment', 'transfer', 'refund') AND actor LIKE 'user:%'\n              AND payment_id IS NULL AND approved_by_id IS NULL\n            GROUP BY transaction_id\n        ) moved) > (SELECT approval_limit_credits FROM pricing_workspace)\n    THEN\n        RAISE EXCEPTION 'This is more than one person may move on a wallet within 24 hours: ask for a second person''s approval.';\n    END IF;\n    RETURN NULL;\n", hash='9f988a820b64bfdc73b70d2cd36ba64dcd340b09', operation='INSERT', pgid='pgtrigger_one_person_moves_within_the_limit_59ba6', table='billing_ledgerentry', when='AFTER')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='ledgerentry',
            trigger=pgtrigger.compiler.Trigger(name='two_people_have_a_request', sql=pgtrigger.compiler.UpsertTriggerSql(condition="WHEN (NEW.kind IN ('grant', 'adjustment', 'transfer', 'refund') AND NEW.actor LIKE 'user:%' AND NEW.payment_id IS NULL AND NEW.approved_by_id IS NOT NULL)", constraint='CONSTRAINT', func="\n    IF NOT EXISTS (\n        SELECT FROM billing_movementrequest\n        WHERE transaction_id = NEW.transaction_id AND state = 'approved' AND decided_by_id = NEW.approved_by_id\n    ) THEN\n        RAISE EXCEPTION 'What a second person approved names the request that they approved.';\n    END IF;\n    RETURN NULL;\n", hash='f29dc274d56e51400a7a3a8da5eda7c863160304', operation='INSERT', pgid='pgtrigger_two_people_have_a_request_eca43', table='billing_ledgerentry', timing='DEFERRABLE INITIALLY DEFERRED', when='AFTER')),
        ),
    ]
