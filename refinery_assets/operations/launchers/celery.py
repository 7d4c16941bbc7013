"""Runs as tasks of Celery workers; named by `deploy/celery/dagster.yaml`, needs the extra `celery`."""

from refinery_assets.operations.extras import imports_of_extra
from refinery_assets.operations.launchers import AnswersForItsOwn

with imports_of_extra("celery"):
    from dagster_celery.launcher import CeleryRunLauncher


class RefineryCeleryLauncher(AnswersForItsOwn, CeleryRunLauncher):
    """The stock launcher, except for runs that it did not launch."""
