"""Values of the chart: documented where they stand, and refused when they are wrong."""

import re

import pytest

from support.chart import CHART, ROOT, SERVING, STUDY, helm


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "imag=x"], "imag"),
        (["--set", "pools.sampling.maxWorkers=none"], "maxWorkers"),
        (["--set", "pools.sampling=null"], "sampling"),
        (["--set", "studies.demo.run=true"], "file"),
        ([*STUDY, "--set", "serving.study=dem", "--set", "serving.keysSecret=k"], "no study dem in studies"),
        ([*STUDY, "--set", "serving.study=demo"], "give keysSecret"),
        ([*SERVING, "--set", "serving.withoutKeys=true"], "give keysSecret"),
        ([*SERVING, "--set", "serving.replicas=2"], "serving.replicas: 2 need 5 CPUs"),
        ([*STUDY, "--set", "studies.demo.set[1]=name=2024-study"], "cannot name a job"),
        ([*STUDY, "--set", "studies.demo.set[1]=name=demo-"], "cannot name a job"),
        (["--set", "studies.demo.file=name: demo"], "is not on S3"),
        (["--set", "studies.demo.file=a: [", "--set", f"studies.demo.set={{{ROOT}}}"], "not valid YAML"),
        (["--set", "studies.demo.file=recipe: x", "--set", f"studies.demo.set={{{ROOT}}}"], "cannot name a job"),
        (["--set", "pools.sampling.minWorkers=9"], "pool sampling: minWorkers 9 is more than maxWorkers 4"),
        (["--set", "pools.sampling.resources.limits=null"], "limits"),
        ([*SERVING, "--set", "s3.secret=write"], "serving: give s3Secret"),
        ([*SERVING, "--set", "serviceAccountAnnotations.role=write"], "serving: give s3Secret"),
        ([*SERVING, "--set", "s3.secret=one", "--set", "serving.s3Secret=one"], "one is a Secret of the jobs"),
        ([*STUDY, "--set", "s3.ca.configMap=a", "--set", "s3.ca.secret=b"], "give configMap or secret, not both"),
        (["--set", "head.resources.limits.memory=null"], "memory"),
        (["--set", "s3=null"], "s3"),
        (["--set", "serving.head=null"], "head"),
    ],
)
def test_a_wrong_value_is_refused(arguments: list[str], message: str) -> None:
    outcome = helm(*arguments)
    assert outcome.returncode != 0
    assert message in outcome.stderr


@pytest.mark.parametrize("release", ["2024", "a.b", "a" * 37])
def test_a_name_of_the_release_that_kuberay_refuses_is_refused(release: str) -> None:
    outcome = helm(release=release)
    assert outcome.returncode != 0
    assert "KubeRay needs a name" in outcome.stderr


def test_a_cluster_without_the_operator_is_refused() -> None:
    outcome = helm(kuberay="batch/v1/Job")
    assert outcome.returncode != 0
    assert "install the KubeRay operator (1.6 or later) first" in outcome.stderr


def test_every_value_has_a_comment() -> None:
    """A comment stands above a key where it occurs first. Keys that belong together share one."""
    lines = (CHART / "values.yaml").read_text().splitlines()
    keys = [re.match(r" *([a-zA-Z]+):", line) for line in lines]
    documented = {key[1] for key, above in zip(keys[1:], lines, strict=False) if key and above.strip().startswith("#")}
    sharing = {"tolerations", "maxWorkers", "requests", "limits", "imagePullSecrets", "pool", "head", "sampling"}
    assert {key[1] for key in keys if key} - documented - sharing == set()
