import django.db.models.deletion
import pgtrigger.compiler
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0008_movement_requests'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='BillingNotice',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(choices=[('auto_topup_stopped', 'Auto top-up stopped'), ('auto_topup_declined', 'Auto top-up declined'), ('topup_mismatch', 'Top-up paid otherwise'), ('dispute_opened', 'Dispute opened'), ('refund_requested', 'Refund waits for approval'), ('movement_requested', 'Movement waits for approval'), ('dead_letter', 'Stripe event not worked off')], max_length=20)),
                ('about', models.BigIntegerField()),
                ('cause', models.CharField(max_length=100)),
                ('recipient', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('created_at', models.DateTimeField()),
                ('due_at', models.DateTimeField(help_text='Nobody takes it before; whoever takes it puts it off first.')),
                ('attempts', models.PositiveSmallIntegerField(default=0)),
                ('last_error', models.TextField(blank=True)),
                ('outcome', models.CharField(choices=[('due', 'Due'), ('sent', 'Sent'), ('moot', 'Nothing left to tell'), ('expired', 'Too old to be of use')], default='due', max_length=7)),
                ('done_at', models.DateTimeField(blank=True, null=True)),
            ],
            options={
                'verbose_name': 'notice',
                'indexes': [models.Index(condition=models.Q(('outcome', 'due')), fields=['due_at'], name='billing_notice_due')],
                'constraints': [models.UniqueConstraint(fields=('cause', 'recipient'), name='billing_notice_is_one'), models.CheckConstraint(condition=models.Q(('kind__in', ['auto_topup_stopped', 'auto_topup_declined', 'topup_mismatch', 'dispute_opened', 'refund_requested', 'movement_requested', 'dead_letter'])), name='billing_notice_kind_is_known'), models.CheckConstraint(condition=models.Q(('outcome__in', ['due', 'sent', 'moot', 'expired'])), name='billing_notice_outcome_is_known'), models.CheckConstraint(condition=models.Q(('outcome', 'due'), ('done_at__isnull', False), _connector='XOR'), name='billing_notice_done_is_whole')],
                'triggers': [pgtrigger.compiler.Trigger(name='is_sent_once', sql=pgtrigger.compiler.UpsertTriggerSql(condition='WHEN (OLD."outcome" IN (\'sent\', \'moot\', \'expired\'))', func="RAISE EXCEPTION 'A notice that is done stays as it is.' USING ERRCODE = 'restrict_violation';", hash='5b6ff2b3fb41147be154cda514f4611eb289e178', operation='UPDATE', pgid='pgtrigger_is_sent_once_e86ff', table='billing_billingnotice', when='BEFORE'))],
            },
        ),
    ]
