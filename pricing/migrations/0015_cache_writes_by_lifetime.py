import pricing.units
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('pricing', '0014_times_in_range'),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='ratechange',
            name='rate_change_names_a_unit',
        ),
        migrations.RemoveConstraint(
            model_name='rateseries',
            name='rate_series_unit_known',
        ),
        migrations.AlterField(
            model_name='ratechange',
            name='unit_kind',
            field=models.CharField(blank=True, choices=[('input', 'input'), ('cache_read', 'cache read'), ('cache_write', 'cache write'), ('cache_write_1h', 'cache write 1h'), ('output', 'output'), ('reasoning', 'reasoning'), ('audio_input', 'audio input'), ('audio_output', 'audio output'), ('image', 'image'), ('video_second', 'video second'), ('request', 'request')], default='', help_text='Empty where the line adds names.', max_length=16),
        ),
        migrations.AlterField(
            model_name='rateseries',
            name='unit_kind',
            field=models.CharField(choices=[('input', 'input'), ('cache_read', 'cache read'), ('cache_write', 'cache write'), ('cache_write_1h', 'cache write 1h'), ('output', 'output'), ('reasoning', 'reasoning'), ('audio_input', 'audio input'), ('audio_output', 'audio output'), ('image', 'image'), ('video_second', 'video second'), ('request', 'request')], max_length=16),
        ),
        migrations.AlterField(
            model_name='ratestatement',
            name='unit_kind',
            field=models.CharField(max_length=16),
        ),
        migrations.AddConstraint(
            model_name='ratechange',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('kind', 'alias'), ('unit_kind', '')), models.Q(models.Q(('kind', 'alias'), _negated=True), ('unit_kind__in', [pricing.units.UnitKind['INPUT'], pricing.units.UnitKind['CACHE_READ'], pricing.units.UnitKind['CACHE_WRITE'], pricing.units.UnitKind['CACHE_WRITE_1H'], pricing.units.UnitKind['OUTPUT'], pricing.units.UnitKind['REASONING'], pricing.units.UnitKind['AUDIO_INPUT'], pricing.units.UnitKind['AUDIO_OUTPUT'], pricing.units.UnitKind['IMAGE'], pricing.units.UnitKind['VIDEO_SECOND'], pricing.units.UnitKind['REQUEST']])), _connector='OR'), name='rate_change_names_a_unit'),
        ),
        migrations.AddConstraint(
            model_name='rateseries',
            constraint=models.CheckConstraint(condition=models.Q(('unit_kind__in', [pricing.units.UnitKind['INPUT'], pricing.units.UnitKind['CACHE_READ'], pricing.units.UnitKind['CACHE_WRITE'], pricing.units.UnitKind['CACHE_WRITE_1H'], pricing.units.UnitKind['OUTPUT'], pricing.units.UnitKind['REASONING'], pricing.units.UnitKind['AUDIO_INPUT'], pricing.units.UnitKind['AUDIO_OUTPUT'], pricing.units.UnitKind['IMAGE'], pricing.units.UnitKind['VIDEO_SECOND'], pricing.units.UnitKind['REQUEST']])), name='rate_series_unit_known'),
        ),
    ]
