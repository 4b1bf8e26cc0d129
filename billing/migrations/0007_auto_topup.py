import django.db.models.deletion
import simple_history.models
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0006_stripe_account'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='AutoTopUp',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('wallet', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='auto_topup', to='billing.wallet')),
                ('threshold', models.DecimalField(decimal_places=6, help_text='Available credits below which the card is charged.', max_digits=20)),
                ('pack', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='billing.creditpack')),
                ('amount_minor', models.BigIntegerField(blank=True, help_text='Instead of a pack: what is charged each time.', null=True)),
                ('currency', models.CharField(max_length=3)),
                ('day_cap_minor', models.BigIntegerField(help_text="At most so much a day, by the workspace's clock.")),
                ('month_cap_minor', models.BigIntegerField(help_text="At most so much a month, by the workspace's clock.")),
                ('state', models.CharField(choices=[('waiting', 'Waits for a card'), ('active', 'On'), ('backing_off', 'Pauses after a decline'), ('stopped', 'Stopped by itself'), ('off', 'Switched off')], default='waiting', max_length=11)),
                ('why', models.CharField(blank=True, help_text='Why it pauses, was stopped or switched off, or holds back.', max_length=500)),
                ('failures', models.PositiveSmallIntegerField(default=0, help_text='Declines in a row.')),
                ('next_attempt_at', models.DateTimeField(blank=True, help_text='Not before; empty: as soon as it is needed.', null=True)),
                ('order', models.OneToOneField(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='billing.topup')),
                ('order_customer', models.CharField(blank=True, help_text="Who is charged for the order, by Stripe's id.", max_length=255)),
                ('order_method', models.CharField(blank=True, help_text="With what, by Stripe's id.", max_length=255)),
                ('set_up_by', models.CharField(max_length=80)),
                ('set_up_at', models.DateTimeField()),
                ('started_at', models.DateTimeField(help_text='Since when it runs: what happened before does not stop it.')),
            ],
            options={
                'verbose_name': 'auto top-up',
                'indexes': [models.Index(condition=models.Q(('state__in', ['active', 'backing_off'])), fields=['wallet'], name='auto_topup_on'), models.Index(condition=models.Q(('order__isnull', False)), fields=['id'], name='auto_topup_ordering'), models.Index(condition=models.Q(('state', 'stopped')), fields=['id'], name='auto_topup_stopped')],
                'constraints': [models.CheckConstraint(condition=models.Q(('state__in', ['waiting', 'active', 'backing_off', 'stopped', 'off'])), name='auto_topup_state_is_known'), models.CheckConstraint(condition=models.Q(('threshold__gt', 0)), name='auto_topup_has_a_mark'), models.CheckConstraint(condition=models.Q(models.Q(('amount_minor__isnull', True), ('pack__isnull', False)), models.Q(('amount_minor__gt', 0), ('amount_minor__isnull', False), ('pack__isnull', True)), _connector='OR'), name='auto_topup_buys_a_pack_or_an_amount'), models.CheckConstraint(condition=models.Q(('currency__regex', '^[A-Z]{3}$')), name='auto_topup_currency_is_iso'), models.CheckConstraint(condition=models.Q(('day_cap_minor__gt', 0), ('month_cap_minor__gte', models.F('day_cap_minor'))), name='auto_topup_caps_are_in_order'), models.CheckConstraint(condition=models.Q(models.Q(('failures__gt', 0), ('next_attempt_at__isnull', False), ('state', 'backing_off')), models.Q(('state', 'backing_off'), _negated=True), _connector='OR'), name='auto_topup_pauses_until'), models.CheckConstraint(condition=models.Q(models.Q(('state__in', ['stopped', 'off']), _negated=True), models.Q(('why', ''), _negated=True), _connector='OR'), name='auto_topup_says_why_it_ended'), models.CheckConstraint(condition=models.Q(models.Q(('order__isnull', True), ('order_customer', ''), ('order_method', '')), models.Q(('order__isnull', False), models.Q(('order_customer', ''), _negated=True), models.Q(('order_method', ''), _negated=True)), _connector='OR'), name='auto_topup_order_has_its_card')],
            },
        ),
        migrations.CreateModel(
            name='HistoricalAutoTopUp',
            fields=[
                ('id', models.BigIntegerField(auto_created=True, blank=True, db_index=True, verbose_name='ID')),
                ('threshold', models.DecimalField(decimal_places=6, help_text='Available credits below which the card is charged.', max_digits=20)),
                ('amount_minor', models.BigIntegerField(blank=True, help_text='Instead of a pack: what is charged each time.', null=True)),
                ('currency', models.CharField(max_length=3)),
                ('day_cap_minor', models.BigIntegerField(help_text="At most so much a day, by the workspace's clock.")),
                ('month_cap_minor', models.BigIntegerField(help_text="At most so much a month, by the workspace's clock.")),
                ('state', models.CharField(choices=[('waiting', 'Waits for a card'), ('active', 'On'), ('backing_off', 'Pauses after a decline'), ('stopped', 'Stopped by itself'), ('off', 'Switched off')], default='waiting', max_length=11)),
                ('why', models.CharField(blank=True, help_text='Why it pauses, was stopped or switched off, or holds back.', max_length=500)),
                ('failures', models.PositiveSmallIntegerField(default=0, help_text='Declines in a row.')),
                ('next_attempt_at', models.DateTimeField(blank=True, help_text='Not before; empty: as soon as it is needed.', null=True)),
                ('set_up_by', models.CharField(max_length=80)),
                ('set_up_at', models.DateTimeField()),
                ('started_at', models.DateTimeField(help_text='Since when it runs: what happened before does not stop it.')),
                ('history_change_reason', models.TextField(blank=True, null=True)),
                ('wallet', models.ForeignKey(blank=True, db_constraint=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='billing.wallet')),
                ('pack', models.ForeignKey(blank=True, db_constraint=False, null=True, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='billing.creditpack')),
                ('history_id', models.AutoField(primary_key=True, serialize=False)),
                ('history_date', models.DateTimeField(db_index=True)),
                ('history_type', models.CharField(choices=[('+', 'Created'), ('~', 'Changed'), ('-', 'Deleted')], max_length=1)),
                ('history_user', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'verbose_name': 'historical auto top-up',
                'verbose_name_plural': 'historical auto top-ups',
                'ordering': ('-history_date', '-history_id'),
                'get_latest_by': ('history_date', 'history_id'),
            },
            bases=(simple_history.models.HistoricalChanges, models.Model),
        ),
    ]
