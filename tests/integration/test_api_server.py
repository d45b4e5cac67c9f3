"""The chart and `synfundus cluster` against the real API server of Kubernetes: KubeRay's definitions, and rights."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from support.api_server import CRDS, ApiServer, api_server
from support.chart import CHART, REPOSITORY, STUDY, STUDY_FILE
from synfundus.cluster.template import settings_digest
from synfundus_jobs import cli

ROOT = "root=s3://bucket/prefix"
KINDS = {
    "rayclusters": "",
    "rayjobs": "rayClusterSpec/properties/",
    "rayservices": "rayClusterConfig/properties/",
}
"""Kinds of KubeRay, and the place of a Ray cluster in their specification."""
ALL_RIGHTS = """
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: installer}
rules: [{apiGroups: ["*"], resources: ["*"], verbs: ["*"]}]
"""
SUBMIT = ["cluster", "submit", str(STUDY_FILE), "--set", ROOT]


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """A server with KubeRay's definitions and the namespace of the tests."""
    with api_server(tmp_path_factory.mktemp("kubernetes")) as running:
        for kind in KINDS:
            running.kubectl("create", "-f", str(CRDS / f"ray.io_{kind}.yaml"))
        names = [f"crd/{kind}.ray.io" for kind in KINDS]
        running.kubectl("wait", "--for=condition=Established", *names, "--timeout=60s")
        running.kubectl("create", "namespace", "fundus")
        yield running


def install(api: ApiServer) -> None:
    outcome = api.run("helm", "install", "synfundus", str(CHART), "--namespace", "fundus")
    assert outcome.returncode == 0, outcome.stderr


def uninstall(api: ApiServer) -> None:
    api.kubectl("-n", "fundus", "delete", "rayjobs,configmaps", "--all")  # no garbage collector runs here
    api.run("helm", "uninstall", "synfundus", "--namespace", "fundus")


@pytest.fixture
def release(api: ApiServer) -> Iterator[ApiServer]:
    """The server with the chart."""
    install(api)
    yield api
    uninstall(api)


@pytest.fixture(scope="class")
def older(api: ApiServer) -> Iterator[ApiServer]:
    """The server with the chart, and the definitions of a KubeRay that is too old for `authOptions`."""
    install(api)
    removed = [remove_auth_options(api, kind, within) for kind, within in KINDS.items()]
    yield api
    for definition, patch in removed:
        api.kubectl("patch", definition, "--type=json", "--patch", json.dumps([patch]))
    uninstall(api)


def remove_auth_options(api: ApiServer, kind: str, within: str) -> tuple[str, dict[str, Any]]:
    """Remove `authOptions` from a definition; return its name and the JSON patch that undoes it."""
    definition = f"crd/{kind}.ray.io"
    versions = json.loads(api.kubectl("get", definition, "-o", "json"))["spec"]["versions"]
    (number,) = [number for number, version in enumerate(versions) if version["name"] == "v1"]
    node = versions[number]["schema"]["openAPIV3Schema"]
    path = f"properties/spec/properties/{within}authOptions"
    for key in path.split("/"):
        node = node[key]
    place = f"/spec/versions/{number}/schema/openAPIV3Schema/{path}"
    remove = json.dumps([{"op": "remove", "path": place}])
    api.kubectl("patch", definition, "--type=json", "--patch", remove)
    return definition, {"op": "add", "path": place, "value": node}


@pytest.fixture
def as_admin(api: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the command line use the server."""
    monkeypatch.setenv("KUBECONFIG", str(api.kubeconfig("admin")))


def test_a_job_of_the_command_line_keeps_every_field_of_the_template(release: ApiServer, as_admin: None) -> None:
    assert cli.main(SUBMIT) == 0
    (job,) = json.loads(release.kubectl("-n", "fundus", "get", "rayjobs", "-o", "json"))["items"]
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token", "secretName": "synfundus-ray-token"}
    settings = settings_digest(STUDY_FILE.read_text(), [ROOT])
    assert job["metadata"]["labels"]["synfundus.io/settings"] == settings


class TestOlderKubeRay:
    """A KubeRay that drops `authOptions`, so that Ray would run every job that is posted to it."""

    def test_a_job_is_refused(self, older: ApiServer, as_admin: None, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(SUBMIT) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "KubeRay on this cluster is too old: it does not know spec.rayClusterSpec.authOptions; upgrade" in line
        assert json.loads(older.kubectl("-n", "fundus", "get", "rayjobs", "-o", "json"))["items"] == []

    @pytest.mark.parametrize("apply", [[], ["--server-side=false"]])
    def test_the_chart_is_not_installed(self, older: ApiServer, apply: list[str]) -> None:
        outcome = older.run("helm", "install", "other", str(CHART), "--namespace", "fundus", *STUDY, *apply)
        assert outcome.returncode != 0
        assert "KubeRay on this cluster is too old" in outcome.stderr
        assert "authOptions.secretName" in outcome.stderr

    def test_a_rendered_chart_is_not_checked_but_its_pods_refuse_to_start_ray_open(self, older: ApiServer) -> None:
        """`helm template` looks nothing up in a cluster."""
        kinds = ["--api-versions", "ray.io/v1/RayJob,ray.io/v1/RayService"]
        outcome = older.run("helm", "template", "synfundus", str(CHART), *kinds)
        assert outcome.returncode == 0
        assert "{name: RAY_AUTH_MODE, value: token}" in outcome.stdout


def test_an_upgrade_keeps_the_token_of_running_clusters(release: ApiServer) -> None:
    def token() -> str:
        return release.kubectl("-n", "fundus", "get", "secret", "synfundus-ray-token", "-o", "jsonpath={.data}")

    before = token()
    upgrade = ["helm", "upgrade", "synfundus", str(CHART), "--namespace", "fundus", "--set", "jobs.retries=1"]
    assert release.run(*upgrade).returncode == 0
    assert token() == before


@pytest.fixture(scope="module")
def user(api: ApiServer) -> ApiServer:
    """The server whose user `user` has the role of infra/kubernetes/user-role.yaml, and nothing else."""
    api.kubectl("-n", "fundus", "apply", "-f", str(REPOSITORY / "infra" / "kubernetes" / "user-role.yaml"))
    api.kubectl("-n", "fundus", "create", "rolebinding", "user", "--role=synfundus-user", "--user=user")
    return api


@pytest.mark.parametrize(
    ("request_of_user", "is_allowed"),
    [
        ("get secret/synfundus-ray-token", True),
        ("get secret/synfundus", False),
        ("get secret/synfundus-patient-key", False),
        ("get secret/synfundus-reader", False),
        ("get secret/synfundus-keys", False),
        ("list secrets", False),
        ("create secrets", False),
        ("get configmap/synfundus-job-template", True),
        ("create configmaps", True),
        ("update configmap/synfundus-job-template", False),
        ("patch configmap/synfundus-job-template", False),
        ("delete configmap/synfundus-job-template", False),
        ("create rayjobs.ray.io", True),
        ("update rayjobs.ray.io", False),
        ("delete rayservices.ray.io", False),
        ("create pods", False),
        ("create pods --subresource=exec", False),
    ],
)
def test_the_role_of_users_allows_what_the_command_line_needs_and_no_more(
    user: ApiServer, request_of_user: str, is_allowed: bool
) -> None:
    assert user.may("user", *request_of_user.split(), "-n", "fundus") == is_allowed


def test_a_user_with_the_role_submits_lists_and_cancels(
    user: ApiServer, release: ApiServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(user.kubeconfig("user")))
    assert cli.main(SUBMIT) == 0
    assert cli.main(["cluster", "list"]) == 0
    assert cli.main(["cluster", "status", *SUBMIT[2:]]) == 0
    assert "the KubeRay operator has not started the job yet" in capsys.readouterr().out


def test_an_installer_without_the_right_to_read_definitions_is_told_which_right_is_missing(api: ApiServer) -> None:
    api.kubectl("-n", "fundus", "create", "-f", "-", text=ALL_RIGHTS)
    api.kubectl("-n", "fundus", "create", "rolebinding", "installer", "--role=installer", "--user=installer")
    outcome = api.run("helm", "install", "synfundus", str(CHART), "--namespace", "fundus", user="installer")
    assert outcome.returncode != 0
    assert 'User "installer" cannot get resource "customresourcedefinitions"' in outcome.stderr
