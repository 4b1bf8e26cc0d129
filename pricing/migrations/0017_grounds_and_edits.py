import django.db.models.deletion
import pgtrigger.compiler
import pgtrigger.migrations
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('pricing', '0016_comparing_again'),
    ]

    operations = [
        pgtrigger.migrations.RemoveTrigger(
            model_name='proposal',
            name='keeps_to_its_road',
        ),
        migrations.RemoveConstraint(
            model_name='proposalnotice',
            name='proposal_notice_is_one',
        ),
        migrations.RemoveConstraint(
            model_name='proposalnotice',
            name='proposal_notice_kind_known',
        ),
        migrations.AddField(
            model_name='proposal',
            name='recosted_at',
            field=models.DateTimeField(blank=True, help_text='When a re-rating changed what usage of the evidence cost.', null=True),
        ),
        migrations.AddField(
            model_name='proposalnotice',
            name='edit',
            field=models.ForeignKey(blank=True, help_text='The edit that it tells of.', null=True, on_delete=django.db.models.deletion.PROTECT, related_name='notices', to='pricing.proposaledit'),
        ),
        migrations.AlterField(
            model_name='proposalnotice',
            name='kind',
            field=models.CharField(choices=[('proposed', 'A decision is asked for'), ('edited', 'Another price was put in its place'), ('decided', 'It was decided')], max_length=8),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='proposal',
            trigger=pgtrigger.compiler.Trigger(name='keeps_to_its_road', sql=pgtrigger.compiler.UpsertTriggerSql(func="\n    IF TG_OP = 'INSERT' THEN\n        IF NEW.state NOT IN ('draft', 'proposed') THEN\n            RAISE EXCEPTION 'A proposal begins as a draft or as proposed.' USING ERRCODE = 'restrict_violation';\n        END IF;\n        RETURN NEW;\n    END IF;\n    IF ROW(NEW.rule_id, NEW.base_version_id, NEW.undoes_id, NEW.source, NEW.evidence, NEW.evidence_hash, NEW.policy, NEW.recommendation, NEW.created_by_id, NEW.created_at) IS DISTINCT FROM ROW(OLD.rule_id, OLD.base_version_id, OLD.undoes_id, OLD.source, OLD.evidence, OLD.evidence_hash, OLD.policy, OLD.recommendation, OLD.created_by_id, OLD.created_at) THEN\n        RAISE EXCEPTION 'What a proposal stands on never changes: propose anew.' USING ERRCODE = 'restrict_violation';\n    END IF;\n    IF (OLD.state, NEW.state) NOT IN (\n        ('draft', 'draft'), ('draft', 'proposed'), ('draft', 'withdrawn'), ('proposed', 'proposed'),\n        ('proposed', 'approved'), ('proposed', 'rejected'), ('proposed', 'withdrawn'), ('proposed', 'superseded')\n    ) THEN\n        RAISE EXCEPTION 'A proposal goes from draft to proposed to a decision, never back.' USING ERRCODE = 'restrict_violation';\n    END IF;\n    IF OLD.recosted_at IS NOT NULL AND NEW.recosted_at IS DISTINCT FROM OLD.recosted_at THEN\n        RAISE EXCEPTION 'Evidence whose usage was re-rated stays so: let the Advisor advise again.' USING ERRCODE = 'restrict_violation';\n    END IF;\n    IF OLD.state = 'proposed' AND NEW.definition <> OLD.definition AND NOT EXISTS (\n        SELECT FROM pricing_proposaledit AS edit\n        WHERE edit.proposal_id = NEW.id AND edit.edited_by_id = NEW.edited_by_id AND edit.definition = NEW.definition\n    ) THEN\n        RAISE EXCEPTION 'A proposed price changes only by an edit that is kept.' USING ERRCODE = 'restrict_violation';\n    END IF;\n    IF NEW.backtest IS DISTINCT FROM (CASE WHEN NEW.definition = OLD.definition THEN coalesce(OLD.backtest, NEW.backtest) END) THEN\n        RAISE EXCEPTION 'A backtest is made once, and goes with the price that it is of.' USING ERRCODE = 'restrict_violation';\n    END IF;\n    IF NEW.state IN ('approved', 'rejected') AND EXISTS (\n        SELECT FROM pricing_proposaledit AS edit WHERE edit.proposal_id = NEW.id AND edit.edited_by_id = NEW.decided_by_id\n    ) THEN\n        RAISE EXCEPTION 'Whoever edited a proposal cannot decide on it.' USING ERRCODE = 'restrict_violation';\n    END IF;\n    IF NEW.state = 'approved' AND NOT EXISTS (\n        SELECT FROM pricing_priceversion AS made LEFT JOIN pricing_priceversion AS base ON base.id = NEW.base_version_id\n        WHERE made.id = NEW.version_id AND made.rule_id = NEW.rule_id AND made.number = coalesce(base.number, 0) + 1\n            AND made.approved_by_id = NEW.decided_by_id\n            AND made.created_by_id IS NOT DISTINCT FROM coalesce(NEW.edited_by_id, NEW.created_by_id)\n            AND made.credits_per_event = (NEW.definition ->> 'credits_per_event')::numeric\n            AND made.components = NEW.definition -> 'components' AND made.tiers = NEW.definition -> 'tiers'\n            AND made.minimum = (NEW.definition ->> 'minimum')::numeric\n            AND made.rounding_step = (NEW.definition ->> 'rounding_step')::numeric\n            AND made.rounding_mode = NEW.definition ->> 'rounding_mode'\n    ) THEN\n        RAISE EXCEPTION 'The version of an approved proposal follows its base, and is the price and by the people of the proposal.'\n            USING ERRCODE = 'restrict_violation';\n    END IF;\n    RETURN NEW;\n", hash='ac746b0fda0b2f31734ffb36c077171c6a037c1b', operation='INSERT OR UPDATE', pgid='pgtrigger_keeps_to_its_road_75c86', table='pricing_proposal', when='BEFORE')),
        ),
        migrations.AddConstraint(
            model_name='proposal',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('state', 'approved'), _negated=True), ('recosted_at__isnull', True), _connector='OR'), name='proposal_approved_on_costs_that_hold'),
        ),
        migrations.AddConstraint(
            model_name='proposal',
            constraint=models.CheckConstraint(condition=models.Q(('recosted_at__isnull', True), ('evidence__isnull', False), _connector='OR'), name='proposal_recosted_has_evidence'),
        ),
        migrations.AddConstraint(
            model_name='proposalnotice',
            constraint=models.UniqueConstraint(condition=models.Q(('edit', None)), fields=('proposal', 'kind', 'recipient'), name='proposal_notice_is_one'),
        ),
        migrations.AddConstraint(
            model_name='proposalnotice',
            constraint=models.UniqueConstraint(fields=('edit', 'recipient'), name='proposal_notice_of_an_edit_is_one'),
        ),
        migrations.AddConstraint(
            model_name='proposalnotice',
            constraint=models.CheckConstraint(condition=models.Q(('kind', 'edited'), ('edit', None), _connector='XOR'), name='proposal_notice_names_its_edit'),
        ),
        migrations.AddConstraint(
            model_name='proposalnotice',
            constraint=models.CheckConstraint(condition=models.Q(('kind__in', ['proposed', 'edited', 'decided'])), name='proposal_notice_kind_known'),
        ),
        migrations.AddField(
            model_name='proposal',
            name='backtest_tried_at',
            field=models.DateTimeField(blank=True, help_text='When a worker last set out to backtest the price as it stands.', null=True),
        ),
        migrations.CreateModel(
            name='GivenAdvice',
            fields=[
                ('rule', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, primary_key=True, related_name='advice', serialize=False, to='pricing.pricerule')),
                ('version_number', models.PositiveIntegerField(help_text='The price that it is about.')),
                ('verdict', models.CharField(choices=[('raise', 'raise'), ('lower', 'lower'), ('keep', 'keep'), ('fix', 'fix'), ('withhold', 'withhold')], max_length=8)),
                ('because', models.TextField(blank=True, default='', help_text='Why, in a few words.')),
                ('headline', models.TextField()),
                ('proposal', models.ForeignKey(blank=True, help_text='What came of it.', null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='pricing.proposal')),
                ('not_proposed', models.TextField(blank=True, default='', help_text='Why no proposal came of a price that it would change.')),
                ('given_at', models.DateTimeField()),
            ],
            options={
                'verbose_name_plural': 'given advice',
                'default_permissions': (),
                'constraints': [models.CheckConstraint(condition=models.Q(('verdict__in', ['raise', 'lower', 'keep', 'fix', 'withhold'])), name='given_advice_verdict_known'), models.CheckConstraint(condition=models.Q(('headline', ''), _negated=True), name='given_advice_has_a_headline'), models.CheckConstraint(condition=models.Q(('version_number__gte', 1)), name='given_advice_version_positive'), models.CheckConstraint(condition=models.Q(models.Q(('verdict__in', ('raise', 'lower')), models.Q(('proposal', None), ('not_proposed', ''), _connector='XOR')), models.Q(models.Q(('verdict__in', ('raise', 'lower')), _negated=True), ('not_proposed', ''), ('proposal', None)), _connector='OR'), name='given_advice_says_what_came_of_it')],
            },
        ),
    ]
