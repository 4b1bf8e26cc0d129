import django.core.validators
from decimal import Decimal
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('pricing', '0017_grounds_and_edits'),
    ]

    operations = [
        migrations.AlterField(
            model_name='historicalworkspace',
            name='advisor_max_step',
            field=models.DecimalField(decimal_places=4, default=Decimal('0.25'), help_text='The Advisor moves a price by at most this share at a time: 0.25 is 25 %.', max_digits=5, validators=[django.core.validators.MinValueValidator(Decimal('0.0001'), 'Must be above 0.'), django.core.validators.MaxValueValidator(1, 'Must be at most 1, which stands for 100 %%.')]),
        ),
        migrations.AlterField(
            model_name='historicalworkspace',
            name='advisor_max_unpriced',
            field=models.DecimalField(decimal_places=4, default=Decimal('0.05'), help_text='With a larger share of events without a known provider cost the Advisor withholds its advice.', max_digits=5, validators=[django.core.validators.MinValueValidator(0, 'Must not be below 0.'), django.core.validators.MaxValueValidator(Decimal('0.9999'), 'Must be below 1: 0.6 stands for 60 %%.')]),
        ),
        migrations.AlterField(
            model_name='historicalworkspace',
            name='advisor_minimum_events',
            field=models.PositiveIntegerField(default=200, help_text='With fewer events the Advisor withholds its advice.', validators=[django.core.validators.MinValueValidator(1, 'Must be at least 1 event.')]),
        ),
        migrations.AlterField(
            model_name='historicalworkspace',
            name='advisor_window_days',
            field=models.PositiveSmallIntegerField(default=28, help_text='How many days of usage the Advisor looks at, now and when the price was decided.', validators=[django.core.validators.MinValueValidator(1, 'Must be at least 1 day.'), django.core.validators.MaxValueValidator(366, 'Must be at most 366 days.')]),
        ),
        migrations.AlterField(
            model_name='historicalworkspace',
            name='approval_limit_credits',
            field=models.DecimalField(decimal_places=6, default=Decimal('10000'), help_text='Manual grants, adjustments and refunds above this many credits need a second person.', max_digits=20, validators=[django.core.validators.MinValueValidator(0, 'Must not be below 0.')]),
        ),
        migrations.AlterField(
            model_name='historicalworkspace',
            name='credit_value',
            field=models.DecimalField(decimal_places=12, default=Decimal('0.01'), help_text='What one credit is worth in the book currency where nothing was paid for it.', max_digits=26, validators=[django.core.validators.MinValueValidator(Decimal('1E-12'), 'Must be above 0.')]),
        ),
        migrations.AlterField(
            model_name='historicalworkspace',
            name='margin_tolerance',
            field=models.DecimalField(decimal_places=4, default=Decimal('0.02'), help_text='The Advisor leaves a price alone while its margin is this near to the target: 0.02 is two percentage points.', max_digits=5, validators=[django.core.validators.MinValueValidator(0, 'Must not be below 0.'), django.core.validators.MaxValueValidator(Decimal('0.9999'), 'Must be below 1: 0.6 stands for 60 %%.')]),
        ),
        migrations.AlterField(
            model_name='historicalworkspace',
            name='target_margin',
            field=models.DecimalField(decimal_places=4, default=Decimal('0.60'), help_text="The share of an event's credit value that should be left after provider cost: 0.6 is 60 %.", max_digits=5, validators=[django.core.validators.MinValueValidator(0, 'Must not be below 0.'), django.core.validators.MaxValueValidator(Decimal('0.9999'), 'Must be below 1: 0.6 stands for 60 %%.')]),
        ),
        migrations.AlterField(
            model_name='historicalworkspace',
            name='usage_retention_months',
            field=models.PositiveSmallIntegerField(default=25, help_text='How many months raw usage records are kept. Ledger entries and rollups stay for ever.', validators=[django.core.validators.MinValueValidator(1, 'Must be at least 1 month.')]),
        ),
        migrations.AlterField(
            model_name='workspace',
            name='advisor_max_step',
            field=models.DecimalField(decimal_places=4, default=Decimal('0.25'), help_text='The Advisor moves a price by at most this share at a time: 0.25 is 25 %.', max_digits=5, validators=[django.core.validators.MinValueValidator(Decimal('0.0001'), 'Must be above 0.'), django.core.validators.MaxValueValidator(1, 'Must be at most 1, which stands for 100 %%.')]),
        ),
        migrations.AlterField(
            model_name='workspace',
            name='advisor_max_unpriced',
            field=models.DecimalField(decimal_places=4, default=Decimal('0.05'), help_text='With a larger share of events without a known provider cost the Advisor withholds its advice.', max_digits=5, validators=[django.core.validators.MinValueValidator(0, 'Must not be below 0.'), django.core.validators.MaxValueValidator(Decimal('0.9999'), 'Must be below 1: 0.6 stands for 60 %%.')]),
        ),
        migrations.AlterField(
            model_name='workspace',
            name='advisor_minimum_events',
            field=models.PositiveIntegerField(default=200, help_text='With fewer events the Advisor withholds its advice.', validators=[django.core.validators.MinValueValidator(1, 'Must be at least 1 event.')]),
        ),
        migrations.AlterField(
            model_name='workspace',
            name='advisor_window_days',
            field=models.PositiveSmallIntegerField(default=28, help_text='How many days of usage the Advisor looks at, now and when the price was decided.', validators=[django.core.validators.MinValueValidator(1, 'Must be at least 1 day.'), django.core.validators.MaxValueValidator(366, 'Must be at most 366 days.')]),
        ),
        migrations.AlterField(
            model_name='workspace',
            name='approval_limit_credits',
            field=models.DecimalField(decimal_places=6, default=Decimal('10000'), help_text='Manual grants, adjustments and refunds above this many credits need a second person.', max_digits=20, validators=[django.core.validators.MinValueValidator(0, 'Must not be below 0.')]),
        ),
        migrations.AlterField(
            model_name='workspace',
            name='credit_value',
            field=models.DecimalField(decimal_places=12, default=Decimal('0.01'), help_text='What one credit is worth in the book currency where nothing was paid for it.', max_digits=26, validators=[django.core.validators.MinValueValidator(Decimal('1E-12'), 'Must be above 0.')]),
        ),
        migrations.AlterField(
            model_name='workspace',
            name='margin_tolerance',
            field=models.DecimalField(decimal_places=4, default=Decimal('0.02'), help_text='The Advisor leaves a price alone while its margin is this near to the target: 0.02 is two percentage points.', max_digits=5, validators=[django.core.validators.MinValueValidator(0, 'Must not be below 0.'), django.core.validators.MaxValueValidator(Decimal('0.9999'), 'Must be below 1: 0.6 stands for 60 %%.')]),
        ),
        migrations.AlterField(
            model_name='workspace',
            name='target_margin',
            field=models.DecimalField(decimal_places=4, default=Decimal('0.60'), help_text="The share of an event's credit value that should be left after provider cost: 0.6 is 60 %.", max_digits=5, validators=[django.core.validators.MinValueValidator(0, 'Must not be below 0.'), django.core.validators.MaxValueValidator(Decimal('0.9999'), 'Must be below 1: 0.6 stands for 60 %%.')]),
        ),
        migrations.AlterField(
            model_name='workspace',
            name='usage_retention_months',
            field=models.PositiveSmallIntegerField(default=25, help_text='How many months raw usage records are kept. Ledger entries and rollups stay for ever.', validators=[django.core.validators.MinValueValidator(1, 'Must be at least 1 month.')]),
        ),
        migrations.AddField(
            model_name='historicalworkspace',
            name='refund_limit',
            field=models.DecimalField(decimal_places=12, default=Decimal('100'), help_text='Refunds of top-ups above this amount, in the book currency, need a second person.', max_digits=26),
        ),
        migrations.AddField(
            model_name='historicalworkspace',
            name='spent_refund_policy',
            field=models.CharField(choices=[('receivable', 'The customer owes them'), ('write_off', 'We bear the loss')], default='receivable', help_text='What becomes of credits that were spent before their top-up was refunded or disputed.', max_length=10),
        ),
        migrations.AddField(
            model_name='workspace',
            name='refund_limit',
            field=models.DecimalField(decimal_places=12, default=Decimal('100'), help_text='Refunds of top-ups above this amount, in the book currency, need a second person.', max_digits=26),
        ),
        migrations.AddField(
            model_name='workspace',
            name='spent_refund_policy',
            field=models.CharField(choices=[('receivable', 'The customer owes them'), ('write_off', 'We bear the loss')], default='receivable', help_text='What becomes of credits that were spent before their top-up was refunded or disputed.', max_length=10),
        ),
        migrations.AddConstraint(
            model_name='workspace',
            constraint=models.CheckConstraint(condition=models.Q(('refund_limit__gte', 0)), name='workspace_refund_limit_not_negative'),
        ),
        migrations.AddConstraint(
            model_name='workspace',
            constraint=models.CheckConstraint(condition=models.Q(('spent_refund_policy__in', ['receivable', 'write_off'])), name='workspace_spent_refund_policy_known'),
        ),
    ]
