"""The WSGI application, as `config.web` and any other WSGI server load it."""

import gc
import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

django = get_wsgi_application()

from config.express import with_express  # noqa: E402 - needs Django, and loads all routes now, not with the first call

application = with_express(django)
# What was loaded until here lives as long as the process: the collector need not walk it again with every full pass.
gc.set_threshold(100_000, 20, 50)
gc.collect()
gc.freeze()
