import django.db.models.deletion
import pgtrigger.compiler
import simple_history.models
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0006_stripe_account'),
        ('reports', '0001_realised_margin'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='ReconciliationBreak',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(choices=[('unknown_here', 'Unknown here'), ('not_credited', 'Paid, not credited'), ('unknown_at_stripe', 'Unknown at Stripe'), ('amount', 'Amounts differ'), ('currency', 'Currencies differ'), ('exchange', 'Exchange difference'), ('fee', 'Fee missing'), ('payout', 'Payout does not add up'), ('withdrawal', 'Money back without credits'), ('dispute', 'Dispute unmatched')], max_length=20)),
                ('subject', models.CharField(max_length=300)),
                ('category', models.CharField(choices=[('charges', 'Charges'), ('refunds', 'Refunds'), ('disputes', 'Disputes'), ('fees', 'Fees'), ('payouts', 'Payouts'), ('other', 'Other')], max_length=10)),
                ('amount_minor', models.BigIntegerField(help_text='By how much they differ, in the smallest unit of the currency.')),
                ('currency', models.CharField(max_length=3)),
                ('detail', models.CharField(max_length=500)),
                ('topup', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='billing.topup')),
                ('happened_at', models.DateTimeField(help_text='The period that it belongs to.')),
                ('state', models.CharField(choices=[('open', 'Open'), ('in_work', 'In work'), ('explained', 'Explained'), ('resolved', 'Gone')], default='open', max_length=9)),
                ('owner', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('note', models.CharField(blank=True, default='', max_length=500)),
                ('found_at', models.DateTimeField()),
                ('seen_at', models.DateTimeField()),
                ('closed_at', models.DateTimeField(blank=True, null=True)),
            ],
            options={
                'verbose_name': 'break with Stripe',
                'verbose_name_plural': 'breaks with Stripe',
                'permissions': (('view_reconciliation', 'Can view the reconciliation with Stripe'), ('settle_breaks', 'Can see to breaks with Stripe, import its files and sign reconciliations')),
                'indexes': [models.Index(fields=['happened_at'], name='break_by_time'), models.Index(condition=models.Q(('state__in', ['open', 'in_work'])), fields=['id'], name='break_open')],
                'constraints': [models.UniqueConstraint(fields=('kind', 'subject'), name='break_is_one'), models.CheckConstraint(condition=models.Q(('state__in', ['open', 'in_work', 'explained', 'resolved'])), name='break_state_is_known'), models.CheckConstraint(condition=models.Q(('state', 'resolved'), ('closed_at__isnull', True), _connector='XOR'), name='break_gone_since'), models.CheckConstraint(condition=models.Q(models.Q(('state', 'explained'), _negated=True), models.Q(('note', ''), _negated=True), _connector='OR'), name='break_explained_says_why')],
                'triggers': [pgtrigger.compiler.Trigger(name='is_kept', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'pgtrigger: Cannot delete rows from % table', TG_TABLE_NAME;", hash='a299f74326a4a5e3c079c8232c38bb1d9eef337f', operation='DELETE', pgid='pgtrigger_is_kept_ccc40', table='reports_reconciliationbreak', when='BEFORE')), pgtrigger.compiler.Trigger(name='never_truncated', sql=pgtrigger.compiler.UpsertTriggerSql(func="\n            IF current_setting('meterdesk.may_truncate', true) IS DISTINCT FROM 'on' THEN\n                RAISE EXCEPTION 'These rows are kept for good: the table is never emptied.';\n            END IF;\n            RETURN NULL;\n        ", hash='65f067fedad56cffcc42ca8c54a3285bf013421b', level='STATEMENT', operation='TRUNCATE', pgid='pgtrigger_never_truncated_68d4e', table='reports_reconciliationbreak', when='BEFORE'))],
            },
        ),
        migrations.CreateModel(
            name='HistoricalReconciliationBreak',
            fields=[
                ('id', models.BigIntegerField(auto_created=True, blank=True, db_index=True, verbose_name='ID')),
                ('kind', models.CharField(choices=[('unknown_here', 'Unknown here'), ('not_credited', 'Paid, not credited'), ('unknown_at_stripe', 'Unknown at Stripe'), ('amount', 'Amounts differ'), ('currency', 'Currencies differ'), ('exchange', 'Exchange difference'), ('fee', 'Fee missing'), ('payout', 'Payout does not add up'), ('withdrawal', 'Money back without credits'), ('dispute', 'Dispute unmatched')], max_length=20)),
                ('subject', models.CharField(max_length=300)),
                ('category', models.CharField(choices=[('charges', 'Charges'), ('refunds', 'Refunds'), ('disputes', 'Disputes'), ('fees', 'Fees'), ('payouts', 'Payouts'), ('other', 'Other')], max_length=10)),
                ('amount_minor', models.BigIntegerField(help_text='By how much they differ, in the smallest unit of the currency.')),
                ('currency', models.CharField(max_length=3)),
                ('detail', models.CharField(max_length=500)),
                ('happened_at', models.DateTimeField(help_text='The period that it belongs to.')),
                ('state', models.CharField(choices=[('open', 'Open'), ('in_work', 'In work'), ('explained', 'Explained'), ('resolved', 'Gone')], default='open', max_length=9)),
                ('note', models.CharField(blank=True, default='', max_length=500)),
                ('found_at', models.DateTimeField()),
                ('closed_at', models.DateTimeField(blank=True, null=True)),
                ('history_change_reason', models.TextField(blank=True, null=True)),
                ('topup', models.ForeignKey(blank=True, db_constraint=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='billing.topup')),
                ('owner', models.ForeignKey(blank=True, db_constraint=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('history_id', models.AutoField(primary_key=True, serialize=False)),
                ('history_date', models.DateTimeField(db_index=True)),
                ('history_type', models.CharField(choices=[('+', 'Created'), ('~', 'Changed'), ('-', 'Deleted')], max_length=1)),
                ('history_user', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'verbose_name': 'historical break with Stripe',
                'verbose_name_plural': 'historical breaks with Stripe',
                'ordering': ('-history_date', '-history_id'),
                'get_latest_by': ('history_date', 'history_id'),
            },
            bases=(simple_history.models.HistoricalChanges, models.Model),
        ),
        migrations.CreateModel(
            name='ReconciliationSignOff',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('since', models.DateTimeField()),
                ('until', models.DateTimeField()),
                ('figures', models.JSONField()),
                ('line_count', models.BigIntegerField()),
                ('digest', models.CharField(max_length=64)),
                ('explained', models.PositiveIntegerField(help_text='Breaks of the period that were explained when it was signed.')),
                ('note', models.CharField(blank=True, max_length=500)),
                ('signed_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('signed_at', models.DateTimeField()),
            ],
            options={
                'verbose_name': 'reconciliation sign-off',
                'indexes': [models.Index(fields=['since', 'until', '-id'], name='sign_off_of_period')],
                'constraints': [models.CheckConstraint(condition=models.Q(('until__gt', models.F('since'))), name='sign_off_period_is_not_empty'), models.CheckConstraint(condition=models.Q(('signed_at__gte', models.F('until'))), name='sign_off_is_of_the_past')],
                'triggers': [pgtrigger.compiler.Trigger(name='append_only', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'pgtrigger: Cannot update or delete rows from % table', TG_TABLE_NAME;", hash='fe4183a7d1bca7c2e5cb9e0fd42ae4016553796f', operation='UPDATE OR DELETE', pgid='pgtrigger_append_only_c1a94', table='reports_reconciliationsignoff', when='BEFORE')), pgtrigger.compiler.Trigger(name='never_truncated', sql=pgtrigger.compiler.UpsertTriggerSql(func="\n            IF current_setting('meterdesk.may_truncate', true) IS DISTINCT FROM 'on' THEN\n                RAISE EXCEPTION 'These rows are kept for good: the table is never emptied.';\n            END IF;\n            RETURN NULL;\n        ", hash='1b31bb718ee3ffd3b2bd8fc84756dacad437982d', level='STATEMENT', operation='TRUNCATE', pgid='pgtrigger_never_truncated_71405', table='reports_reconciliationsignoff', when='BEFORE'))],
            },
        ),
    ]
