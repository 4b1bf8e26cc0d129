from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("pricing", "0005_provider_models_and_rates")]

    operations = [
        migrations.AlterModelOptions(
            name="priceversion",
            options={"ordering": ("rule", "-number"), "permissions": (("publish_price", "Can publish a price version"),)},
        ),
    ]
