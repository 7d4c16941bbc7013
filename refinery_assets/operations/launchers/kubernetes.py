"""Runs as Kubernetes jobs; named by `deploy/kubernetes/dagster.yaml`, needs the extra `kubernetes`."""

from refinery_assets.operations.extras import imports_of_extra
from refinery_assets.operations.launchers import AnswersForItsOwn

with imports_of_extra("kubernetes"):
    from dagster_k8s import K8sRunLauncher


class RefineryKubernetesLauncher(AnswersForItsOwn, K8sRunLauncher):
    """The stock launcher, except for runs that it did not launch."""
