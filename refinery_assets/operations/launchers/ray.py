"""Runs as jobs of a Ray cluster; named by `deploy/ray/dagster.yaml`, needs the extra `ray`."""

from refinery_assets.operations.extras import imports_of_extra
from refinery_assets.operations.launchers import AnswersForItsOwn

with imports_of_extra("ray"):
    from dagster_ray import RayRunLauncher


class RefineryRayLauncher(AnswersForItsOwn, RayRunLauncher):
    """The stock launcher, except for runs that it did not launch."""
