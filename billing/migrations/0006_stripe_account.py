import django.db.models.deletion
import django.db.models.expressions
import pgtrigger.compiler
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0005_topups'),
    ]

    operations = [
        migrations.CreateModel(
            name='StripeEvent',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('event_id', models.CharField(max_length=255, unique=True)),
                ('type', models.CharField(max_length=100)),
                ('api_version', models.CharField(blank=True, max_length=40)),
                ('is_live', models.BooleanField()),
                ('object_id', models.CharField(blank=True, help_text='What it is about.', max_length=255)),
                ('origin', models.CharField(choices=[('webhook', 'Webhook'), ('sweeper', 'Asked for')], max_length=7)),
                ('body', models.TextField()),
                ('happened_at', models.DateTimeField(help_text="By Stripe's clock.")),
                ('received_at', models.DateTimeField()),
                ('state', models.CharField(choices=[('due', 'Waits'), ('done', 'Done'), ('ignored', 'Nothing to do'), ('dead', 'Dead letter')], default='due', max_length=7)),
                ('attempts', models.PositiveSmallIntegerField(default=0)),
                ('due_at', models.DateTimeField(help_text='Nobody takes it before; whoever takes it puts it off first.')),
                ('done_at', models.DateTimeField(blank=True, null=True)),
                ('outcome', models.CharField(blank=True, help_text='What it did, or why nothing.', max_length=500)),
                ('last_error', models.TextField(blank=True)),
                ('retried_by', models.CharField(blank=True, help_text='Who had it tried again last.', max_length=80)),
                ('retried_at', models.DateTimeField(blank=True, null=True)),
            ],
            options={
                'verbose_name': 'Stripe event',
                'permissions': (('retry_stripeevent', 'Can try a Stripe event again'),),
                'indexes': [models.Index(condition=models.Q(('state', 'due')), fields=['due_at'], name='stripe_event_due'), models.Index(condition=models.Q(('state', 'dead')), fields=['id'], name='stripe_event_dead'), models.Index(fields=['object_id'], name='stripe_event_about'), models.Index(fields=['received_at', 'id'], name='stripe_event_by_time'), models.Index(fields=['type', 'received_at', 'id'], name='stripe_event_by_type')],
                'constraints': [models.CheckConstraint(condition=models.Q(('state__in', ['due', 'done', 'ignored', 'dead'])), name='stripe_event_state_is_known'), models.CheckConstraint(condition=models.Q(('origin__in', ['webhook', 'sweeper'])), name='stripe_event_origin_is_known'), models.CheckConstraint(condition=models.Q(('state__in', ['due', 'dead']), ('done_at__isnull', False), _connector='XOR'), name='stripe_event_done_is_whole'), models.CheckConstraint(condition=models.Q(('retried_by', ''), ('retried_at__isnull', False), _connector='XOR'), name='stripe_event_retry_has_its_person')],
                'triggers': [pgtrigger.compiler.Trigger(name='arrived_as_it_is', sql=pgtrigger.compiler.UpsertTriggerSql(condition="WHEN ((OLD.event_id, OLD.type, OLD.body, OLD.is_live, OLD.happened_at, OLD.received_at) IS DISTINCT FROM (NEW.event_id, NEW.type, NEW.body, NEW.is_live, NEW.happened_at, NEW.received_at) OR OLD.state = 'done' OR OLD.state = 'ignored' AND NEW.state <> 'due')", func="RAISE EXCEPTION 'What Stripe sent is kept as it came, and what is done stays done.';", hash='404a75a11484707c2e0f29248e12d56e9cb9f6cb', operation='UPDATE', pgid='pgtrigger_arrived_as_it_is_7c4a0', table='billing_stripeevent', when='BEFORE')), pgtrigger.compiler.Trigger(name='is_kept', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'pgtrigger: Cannot delete rows from % table', TG_TABLE_NAME;", hash='4369d57638bdb42e0420f89010ce5b708eb46655', operation='DELETE', pgid='pgtrigger_is_kept_cbdf3', table='billing_stripeevent', when='BEFORE')), pgtrigger.compiler.Trigger(name='never_truncated', sql=pgtrigger.compiler.UpsertTriggerSql(func="\n            IF current_setting('meterdesk.may_truncate', true) IS DISTINCT FROM 'on' THEN\n                RAISE EXCEPTION 'These rows are kept for good: the table is never emptied.';\n            END IF;\n            RETURN NULL;\n        ", hash='f7b5cb90fc0bb70bc07c6702cbbd267651f99174', level='STATEMENT', operation='TRUNCATE', pgid='pgtrigger_never_truncated_175b9', table='billing_stripeevent', when='BEFORE'))],
            },
        ),
        migrations.CreateModel(
            name='EventSweep',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('is_live', models.BooleanField(unique=True)),
                ('reached_at', models.DateTimeField(help_text='Whatever had happened by then is in the inbox.')),
            ],
        ),
        migrations.CreateModel(
            name='Payout',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('stripe_id', models.CharField(max_length=255, unique=True)),
                ('amount_minor', models.BigIntegerField(help_text='Negative when Stripe took money from our bank.')),
                ('currency', models.CharField(max_length=3)),
                ('status', models.CharField(max_length=20)),
                ('is_automatic', models.BooleanField(default=True)),
                ('is_reconciled', models.BooleanField(default=False, help_text='All balance transactions of it have arrived and add up.')),
                ('failure', models.CharField(blank=True, help_text="Why the bank sent it back, in Stripe's words.", max_length=500)),
                ('arrives_on', models.DateField()),
                ('created_at', models.DateTimeField()),
                ('received_at', models.DateTimeField()),
            ],
            options={
                'indexes': [models.Index(fields=['created_at'], name='payout_by_time'), models.Index(condition=models.Q(('is_reconciled', False)), fields=['id'], name='payout_to_take_apart')],
                'constraints': [models.CheckConstraint(condition=models.Q(('currency__regex', '^[A-Z]{3}$')), name='payout_currency_is_iso')],
                'triggers': [pgtrigger.compiler.Trigger(name='facts_are_kept', sql=pgtrigger.compiler.UpsertTriggerSql(condition='WHEN ((OLD.stripe_id, OLD.amount_minor, OLD.currency, OLD.is_automatic, OLD.created_at, OLD.received_at) IS DISTINCT FROM (NEW.stripe_id, NEW.amount_minor, NEW.currency, NEW.is_automatic, NEW.created_at, NEW.received_at) OR OLD.is_reconciled AND NOT NEW.is_reconciled)', func="RAISE EXCEPTION 'What Stripe paid out never changes.';", hash='0ef936c232679fc4bce7ef7550301fa152239c3e', operation='UPDATE', pgid='pgtrigger_facts_are_kept_66580', table='billing_payout', when='BEFORE')), pgtrigger.compiler.Trigger(name='adds_up', sql=pgtrigger.compiler.UpsertTriggerSql(condition='WHEN (NEW.is_reconciled)', func="\n                    IF NEW.amount_minor IS DISTINCT FROM (\n                        SELECT sum(net_minor) FROM billing_balancetransaction\n                        WHERE payout_id = NEW.id AND currency = NEW.currency AND source <> NEW.stripe_id\n                    ) THEN\n                        RAISE EXCEPTION 'A payout is reconciled when its balance transactions add up to it.';\n                    END IF;\n                    RETURN NEW;\n                ", hash='5891dd81c08e02fdcb5b7c1817b2abee5ff4a35c', operation='INSERT OR UPDATE', pgid='pgtrigger_adds_up_bbce4', table='billing_payout', when='BEFORE')), pgtrigger.compiler.Trigger(name='is_kept', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'pgtrigger: Cannot delete rows from % table', TG_TABLE_NAME;", hash='8b2c7655d6b9ed9dfc5e67635804d197f901f227', operation='DELETE', pgid='pgtrigger_is_kept_17076', table='billing_payout', when='BEFORE')), pgtrigger.compiler.Trigger(name='never_truncated', sql=pgtrigger.compiler.UpsertTriggerSql(func="\n            IF current_setting('meterdesk.may_truncate', true) IS DISTINCT FROM 'on' THEN\n                RAISE EXCEPTION 'These rows are kept for good: the table is never emptied.';\n            END IF;\n            RETURN NULL;\n        ", hash='4180229f2cc0d14247b250999d51de8d0633686c', level='STATEMENT', operation='TRUNCATE', pgid='pgtrigger_never_truncated_556f3', table='billing_payout', when='BEFORE'))],
            },
        ),
        migrations.CreateModel(
            name='BalanceTransaction',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('stripe_id', models.CharField(max_length=255, unique=True)),
                ('type', models.CharField(max_length=60)),
                ('reporting_category', models.CharField(blank=True, max_length=60)),
                ('source', models.CharField(blank=True, help_text='The charge, refund, dispute or payout behind it.', max_length=255)),
                ('charge', models.CharField(blank=True, help_text='The charge behind its source, where Stripe named it.', max_length=255)),
                ('payment_intent', models.CharField(blank=True, max_length=255)),
                ('amount_minor', models.BigIntegerField()),
                ('fee_minor', models.BigIntegerField()),
                ('net_minor', models.BigIntegerField()),
                ('currency', models.CharField(max_length=3)),
                ('exchange_rate', models.DecimalField(blank=True, decimal_places=15, max_digits=30, null=True)),
                ('status', models.CharField(blank=True, help_text="In Stripe's word: pending, then available.", max_length=20)),
                ('payout_id_at_stripe', models.CharField(blank=True, help_text='Known before the payout itself is.', max_length=255)),
                ('payout', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='transactions', to='billing.payout')),
                ('description', models.CharField(blank=True, max_length=500)),
                ('available_on', models.DateTimeField(blank=True, null=True)),
                ('created_at', models.DateTimeField()),
                ('received_at', models.DateTimeField()),
            ],
            options={
                'indexes': [models.Index(fields=['source'], name='balance_transaction_source'), models.Index(fields=['created_at'], name='balance_transaction_by_time'), models.Index(condition=models.Q(('payout__isnull', True), models.Q(('payout_id_at_stripe', ''), _negated=True)), fields=['payout_id_at_stripe'], name='balance_transaction_of_unknown')],
                'constraints': [models.CheckConstraint(condition=models.Q(('net_minor', django.db.models.expressions.CombinedExpression(models.F('amount_minor'), '-', models.F('fee_minor')))), name='balance_transaction_adds_up'), models.CheckConstraint(condition=models.Q(('currency__regex', '^[A-Z]{3}$')), name='balance_transaction_currency_is_iso')],
                'triggers': [pgtrigger.compiler.Trigger(name='facts_are_kept', sql=pgtrigger.compiler.UpsertTriggerSql(condition="WHEN ((OLD.stripe_id, OLD.type, OLD.reporting_category, OLD.source, OLD.charge, OLD.payment_intent, OLD.amount_minor, OLD.fee_minor, OLD.net_minor, OLD.currency, OLD.exchange_rate, OLD.description, OLD.available_on, OLD.created_at, OLD.received_at) IS DISTINCT FROM (NEW.stripe_id, NEW.type, NEW.reporting_category, NEW.source, NEW.charge, NEW.payment_intent, NEW.amount_minor, NEW.fee_minor, NEW.net_minor, NEW.currency, NEW.exchange_rate, NEW.description, NEW.available_on, NEW.created_at, NEW.received_at) OR OLD.payout_id IS NOT NULL AND NEW.payout_id IS DISTINCT FROM OLD.payout_id OR OLD.payout_id_at_stripe <> '' AND NEW.payout_id_at_stripe <> OLD.payout_id_at_stripe OR OLD.status = 'available' AND NEW.status <> 'available')", func="RAISE EXCEPTION 'What Stripe booked never changes; the payout that took it along is written down once.';", hash='8cc9929568ce083c419b605c4020bf64041a0a33', operation='UPDATE', pgid='pgtrigger_facts_are_kept_daae5', table='billing_balancetransaction', when='BEFORE')), pgtrigger.compiler.Trigger(name='is_kept', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'pgtrigger: Cannot delete rows from % table', TG_TABLE_NAME;", hash='c662185c86cab50f014c28a6c0f40f2d8114195c', operation='DELETE', pgid='pgtrigger_is_kept_efa1b', table='billing_balancetransaction', when='BEFORE')), pgtrigger.compiler.Trigger(name='never_truncated', sql=pgtrigger.compiler.UpsertTriggerSql(func="\n            IF current_setting('meterdesk.may_truncate', true) IS DISTINCT FROM 'on' THEN\n                RAISE EXCEPTION 'These rows are kept for good: the table is never emptied.';\n            END IF;\n            RETURN NULL;\n        ", hash='8bc5afc9a0a3428257833a728c9e81e29e99a145', level='STATEMENT', operation='TRUNCATE', pgid='pgtrigger_never_truncated_db275', table='billing_balancetransaction', when='BEFORE'))],
            },
        ),
        migrations.CreateModel(
            name='PlatformFee',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('payment', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='fees', to='billing.payment')),
                ('balance_transaction', models.CharField(max_length=255, unique=True)),
                ('amount_minor', models.BigIntegerField(help_text='Positive: it cost us. Negative: Stripe gave it back.')),
                ('currency', models.CharField(max_length=3)),
                ('amount', models.DecimalField(blank=True, decimal_places=12, help_text='In the book currency; empty when the fee came in another one.', max_digits=26, null=True)),
                ('kind', models.CharField(help_text='payment, refund or dispute', max_length=20)),
                ('happened_at', models.DateTimeField()),
                ('recorded_at', models.DateTimeField()),
            ],
            options={
                'indexes': [models.Index(fields=['happened_at'], name='platform_fee_by_time')],
                'triggers': [pgtrigger.compiler.Trigger(name='append_only', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'pgtrigger: Cannot update or delete rows from % table', TG_TABLE_NAME;", hash='d6481b1fc844e99d08d91a3cc4ecd5a23f24697f', operation='UPDATE OR DELETE', pgid='pgtrigger_append_only_87c70', table='billing_platformfee', when='BEFORE')), pgtrigger.compiler.Trigger(name='never_truncated', sql=pgtrigger.compiler.UpsertTriggerSql(func="\n            IF current_setting('meterdesk.may_truncate', true) IS DISTINCT FROM 'on' THEN\n                RAISE EXCEPTION 'These rows are kept for good: the table is never emptied.';\n            END IF;\n            RETURN NULL;\n        ", hash='219215d15dcd4bb7cda04680a2ffb15b316289b4', level='STATEMENT', operation='TRUNCATE', pgid='pgtrigger_never_truncated_29e94', table='billing_platformfee', when='BEFORE'))],
            },
        ),
        migrations.CreateModel(
            name='SettlementSweep',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('is_live', models.BooleanField(unique=True)),
                ('reached_at', models.DateTimeField()),
            ],
        ),
    ]
