import django.db.models.deletion
import pgtrigger.compiler
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0007_auto_topup'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='MovementRequest',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(choices=[('grant', 'Grant'), ('adjustment', 'Adjustment'), ('transfer', 'Transfer'), ('refund', 'Refund of a charge')], max_length=10)),
                ('wallet', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='requests', to='billing.wallet')),
                ('to_wallet', models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='billing.wallet')),
                ('credits', models.DecimalField(decimal_places=6, help_text='What is to be moved; of an adjustment that takes credits, negative.', max_digits=20)),
                ('expires_at', models.DateTimeField(blank=True, help_text='Of a grant: when its credits end. Empty: never.', null=True)),
                ('usage_record_id', models.BigIntegerField(blank=True, help_text='Of a refund: the event that was charged.', null=True)),
                ('reason', models.CharField(max_length=500)),
                ('limit_credits', models.DecimalField(decimal_places=6, help_text='What one person might move within 24 hours, when this was asked for.', max_digits=20)),
                ('moved_credits', models.DecimalField(decimal_places=6, help_text='What its author had moved on this wallet in the 24 hours before.', max_digits=26)),
                ('state', models.CharField(choices=[('requested', 'Waiting for a decision'), ('approved', 'Approved'), ('rejected', 'Rejected'), ('withdrawn', 'Withdrawn')], default='requested', max_length=9)),
                ('requested_by', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('requested_at', models.DateTimeField()),
                ('decided_by', models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('decided_at', models.DateTimeField(blank=True, null=True)),
                ('decision_reason', models.CharField(blank=True, max_length=500)),
                ('transaction_id', models.BigIntegerField(blank=True, help_text="The ledger's transaction that it became.", null=True)),
            ],
            options={
                'verbose_name': 'request',
                'permissions': (('decide_movement', 'Can approve or reject movements of credits that another person asked for'),),
                'indexes': [models.Index(condition=models.Q(('state', 'requested')), fields=['id'], name='movement_request_waiting')],
                'constraints': [models.CheckConstraint(condition=models.Q(('kind__in', ['grant', 'adjustment', 'transfer', 'refund'])), name='movement_request_kind_is_known'), models.CheckConstraint(condition=models.Q(('state__in', ['requested', 'approved', 'rejected', 'withdrawn'])), name='movement_request_state_is_known'), models.CheckConstraint(condition=models.Q(('credits__gt', 0), models.Q(('credits__lt', 0), ('kind', 'adjustment')), _connector='OR'), name='movement_request_moves_credits'), models.CheckConstraint(condition=models.Q(models.Q(('kind', 'transfer'), ('to_wallet__isnull', False), models.Q(('to_wallet', models.F('wallet')), _negated=True)), models.Q(models.Q(('kind', 'transfer'), _negated=True), ('to_wallet__isnull', True)), _connector='OR'), name='movement_request_transfer_names_its_wallets'), models.CheckConstraint(condition=models.Q(('kind', 'refund'), ('usage_record_id__isnull', True), _connector='XOR'), name='movement_request_refund_names_its_event'), models.CheckConstraint(condition=models.Q(('kind', 'grant'), ('expires_at__isnull', True), _connector='OR'), name='movement_request_grants_expire'), models.CheckConstraint(condition=models.Q(('reason', ''), _negated=True), name='movement_request_has_a_reason'), models.CheckConstraint(condition=models.Q(('decided_by', models.F('requested_by')), _negated=True), name='movement_request_decider_did_not_ask'), models.CheckConstraint(condition=models.Q(models.Q(('decided_at__isnull', True), ('decided_by__isnull', True), ('decision_reason', ''), ('state', 'requested')), models.Q(('decided_at__isnull', False), ('decided_by__isnull', True), ('state', 'withdrawn'), models.Q(('decision_reason', ''), _negated=True)), models.Q(('decided_at__isnull', False), ('decided_by__isnull', False), ('state__in', ('approved', 'rejected')), models.Q(('decision_reason', ''), _negated=True)), _connector='OR'), name='movement_request_decision_is_whole'), models.CheckConstraint(condition=models.Q(('state', 'approved'), ('transaction_id__isnull', True), _connector='XOR'), name='movement_request_approved_is_in_the_ledger'), models.UniqueConstraint(fields=('transaction_id',), name='movement_request_becomes_one_transaction')],
                'triggers': [pgtrigger.compiler.Trigger(name='keeps_to_its_road', sql=pgtrigger.compiler.UpsertTriggerSql(func="\n    IF TG_OP = 'INSERT' THEN\n        IF NEW.state <> 'requested' THEN\n            RAISE EXCEPTION 'A request begins by waiting for a decision.' USING ERRCODE = 'restrict_violation';\n        END IF;\n        RETURN NEW;\n    END IF;\n    IF ROW(NEW.kind, NEW.wallet_id, NEW.to_wallet_id, NEW.credits, NEW.expires_at, NEW.usage_record_id, NEW.reason, NEW.limit_credits, NEW.moved_credits, NEW.requested_by_id, NEW.requested_at) IS DISTINCT FROM ROW(OLD.kind, OLD.wallet_id, OLD.to_wallet_id, OLD.credits, OLD.expires_at, OLD.usage_record_id, OLD.reason, OLD.limit_credits, OLD.moved_credits, OLD.requested_by_id, OLD.requested_at) THEN\n        RAISE EXCEPTION 'What was asked for never changes: withdraw it, and ask anew.' USING ERRCODE = 'restrict_violation';\n    END IF;\n    IF OLD.state <> 'requested' THEN\n        RAISE EXCEPTION 'A request is decided once.' USING ERRCODE = 'restrict_violation';\n    END IF;\n    IF NEW.state = 'approved' AND NOT EXISTS (\n        SELECT FROM billing_ledgerentry e JOIN auth_user author ON author.id = NEW.requested_by_id\n        WHERE e.transaction_id = NEW.transaction_id\n        HAVING sum(e.credits) FILTER (WHERE e.wallet_id = NEW.wallet_id) = NEW.credits * CASE NEW.kind WHEN 'transfer' THEN -1 ELSE 1 END\n           AND coalesce(sum(e.credits) FILTER (WHERE e.wallet_id IS DISTINCT FROM NEW.wallet_id), 0)\n               = CASE NEW.kind WHEN 'transfer' THEN NEW.credits ELSE 0 END\n           AND bool_and(e.wallet_id = NEW.wallet_id OR e.wallet_id IS NOT DISTINCT FROM NEW.to_wallet_id)\n           AND bool_and(e.approved_by_id IS NOT DISTINCT FROM NEW.decided_by_id)\n           AND bool_and(e.actor = left('user:' || author.username, 80))\n           AND bool_or(e.kind = NEW.kind)\n    ) THEN\n        RAISE EXCEPTION 'An approved request names the transaction that moved just what was asked for, by its two people.'\n            USING ERRCODE = 'restrict_violation';\n    END IF;\n    RETURN NEW;\n", hash='3b1b1deb03c9f5c0a14745a77d2e18df1fca8a0e', operation='INSERT OR UPDATE', pgid='pgtrigger_keeps_to_its_road_1a61e', table='billing_movementrequest', when='BEFORE')), pgtrigger.compiler.Trigger(name='is_kept', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'pgtrigger: Cannot delete rows from % table', TG_TABLE_NAME;", hash='a6af01aef13fc40bea14b34484ca40c859e04fa7', operation='DELETE', pgid='pgtrigger_is_kept_9b4e8', table='billing_movementrequest', when='BEFORE')), pgtrigger.compiler.Trigger(name='never_truncated', sql=pgtrigger.compiler.UpsertTriggerSql(func="\n            IF current_setting('meterdesk.may_truncate', true) IS DISTINCT FROM 'on' THEN\n                RAISE EXCEPTION 'These rows are kept for good: the table is never emptied.';\n            END IF;\n            RETURN NULL;\n        ", hash='a2bc358aa3e1601869ec6c7418e249db519d8c1f', level='STATEMENT', operation='TRUNCATE', pgid='pgtrigger_never_truncated_d9bca', table='billing_movementrequest', when='BEFORE'))],
            },
        ),
    ]
