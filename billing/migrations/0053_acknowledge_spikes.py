
from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('billing', '0022_budgets'),
    ]

    operations = [
        migrations.AlterModelOptions(
            name='alert',
            options={'ordering': ('-raised_at', '-id'), 'permissions': (('acknowledge_alert', 'Can acknowledge and resolve alerts'), ('acknowledge_spike', 'Can acknowledge and resolve spikes'))},
        ),
    ]
