"""`synfundus cluster`: run studies as RayJobs of a Kubernetes cluster that has the chart, and follow them.

The Kubernetes client takes seconds to import, so each verb imports what needs it.
"""

import base64
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from synfundus.cluster.ray_job import FAILED, RayJob
from synfundus.errors import SynfundusError, WrongInputError
from synfundus.evaluation.manifest import PRIVATE
from synfundus.study import Study, load_study
from synfundus_jobs import screen
from synfundus_jobs.options import Overrides, StudyFile

if TYPE_CHECKING:
    from synfundus.cluster.kube import Namespace

DASHBOARD_PORT = 8265
DAY_S = 86_400.0
NamespaceName = Annotated[
    str | None,
    typer.Option(
        "--namespace", "-n", metavar="NAME", help="Namespace (default: that of the context).", show_default=False
    ),
]
ContextName = Annotated[
    str | None,
    typer.Option(
        "--context", metavar="NAME", help="Context of the kubeconfig (default: the current one).", show_default=False
    ),
]
ReleaseName = Annotated[
    str | None,
    typer.Option(
        "--release", metavar="NAME", help="Release of the chart, if the namespace has several.", show_default=False
    ),
]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Go on as more is written.")]
Timeout = Annotated[float, typer.Option("--timeout", metavar="S", help="Seconds to wait; the default is a day.")]
DashboardPort = Annotated[int, typer.Option("--port", metavar="PORT", help="Port on this machine.")]


@dataclass(frozen=True)
class Submission:
    """A study in the form in which it is submitted. File and overrides together identify its job."""

    file: Path
    overrides: list[str]
    study: Study
    namespace: "Namespace"

    @property
    def text(self) -> str:
        """Bytes of the file as text, line ends included, as the chart takes them."""
        return self.file.read_bytes().decode("utf-8")

    def job(self) -> RayJob:
        """Return the job of this study.

        Raises:
            WrongInputError: no job was submitted with these settings.
        """
        from synfundus.cluster import jobs, template

        return jobs.find(self.namespace, self.study.name, template.settings_digest(self.text, self.overrides))

    def command(self, verb: str) -> str:
        """Return `synfundus VERB` for the same study, to be copied."""
        overrides = "".join(f" --set {shlex.quote(override)}" for override in self.overrides)
        return f"synfundus {verb} {self.file}{overrides}"


def _connect(namespace: str | None, context: str | None) -> "Namespace":
    from synfundus.cluster.kube import connect

    return connect(context, namespace)


def _submission(study: Path, overrides: list[str], namespace: str | None, context: str | None) -> Submission:
    connected = _connect(namespace, context)
    return Submission(study, overrides, load_study(study, overrides), connected)


def submit(
    study: StudyFile,
    overrides: Overrides,
    namespace: NamespaceName = None,
    context: ContextName = None,
    release: ReleaseName = None,
) -> None:
    from synfundus.cluster import jobs, reachable, template

    given = _submission(study, overrides, namespace, context)
    reachable.require_reachable(given.study, "\n".join([given.text, *overrides]))
    chart = template.find_template(given.namespace, release)
    job, outcome = jobs.submit_job(given.namespace, chart, given.study, given.text, overrides)
    state = f"{outcome}, {job.state}" if outcome is jobs.Submitted.EXISTS else outcome
    screen.write(f"job {job.name} {state}; follow it: {given.command('cluster wait')} -n {given.namespace.name}\n")


def list_jobs(namespace: NamespaceName = None, context: ContextName = None) -> None:
    connected = _connect(namespace, context)
    found = connected.jobs()
    if not found:
        screen.write(f"no jobs in {connected.name}; `synfundus cluster submit STUDY` makes one\n")
        return
    screen.show_rows(f"jobs in {connected.name}", [(job.name, f"{job.state:<9}  {job.age}") for job in found])


def status(
    study: StudyFile, overrides: Overrides, namespace: NamespaceName = None, context: ContextName = None
) -> None:
    from synfundus.cluster import pods

    given = _submission(study, overrides, namespace, context)
    job = given.job()
    counts = ", ".join(f"{pool} {count}" for pool, count in sorted(pods.workers(given.namespace, job).items()))
    rows = [("state", job.state), ("submitted", f"{job.age} ago"), ("Ray pods", counts or "none")]
    rows += [("waits", trouble) for trouble in pods.troubles(given.namespace, job)]
    if job.message:
        rows.append(("message", " ".join(job.message.split())))
    screen.show_rows(f"job {job.name}", rows)


def logs(
    study: StudyFile,
    overrides: Overrides,
    namespace: NamespaceName = None,
    context: ContextName = None,
    follow: Follow = False,
) -> None:
    from synfundus.cluster import pods

    given = _submission(study, overrides, namespace, context)
    for part in pods.driver_log(given.namespace, given.job(), keep_following=follow):
        if not screen.write_bytes(part):
            break


def wait(
    study: StudyFile,
    overrides: Overrides,
    namespace: NamespaceName = None,
    context: ContextName = None,
    timeout: Timeout = DAY_S,
) -> None:
    from synfundus.cluster import jobs

    given = _submission(study, overrides, namespace, context)
    for job in jobs.follow(given.namespace, given.job().name, timeout):
        screen.write(f"job {job.name} {job.state}\n")
    if job.state == FAILED:
        raise SynfundusError(
            f"job {job.name} failed ({' '.join(job.message.split()) or 'no message'});"
            f" {given.command('cluster logs')} -n {given.namespace.name} shows why"
        )
    page = f"{job.root.rstrip('/')}/{given.study.report_folder}/{PRIVATE}"
    screen.write(f"report: {page}\nfetch it: {given.command('fetch')}\n")


def cancel(
    study: StudyFile, overrides: Overrides, namespace: NamespaceName = None, context: ContextName = None
) -> None:
    from synfundus.cluster import jobs

    given = _submission(study, overrides, namespace, context)
    job = given.job()
    jobs.cancel_job(given.namespace, job)
    screen.write(f"job {job.name} is deleted; its objects stay, and a new submission resumes from them\n")


def dashboard(
    study: StudyFile,
    overrides: Overrides,
    namespace: NamespaceName = None,
    context: ContextName = None,
    port: DashboardPort = DASHBOARD_PORT,
) -> None:
    from synfundus.cluster.forward import Forwarder

    given = _submission(study, overrides, namespace, context)
    job = given.job()
    head, token = _head_and_token(given.namespace, job)
    try:
        forwarder = Forwarder(given.namespace, head, DASHBOARD_PORT, port)
    except OSError as error:
        raise WrongInputError(f"port {port}: cannot listen ({error.strerror}); choose another --port") from error
    screen.write(f"dashboard of {job.name}: http://127.0.0.1:{port}  (token {token}; Ctrl-C ends it)\n")
    try:
        with forwarder:
            forwarder.serve_forever()
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        return
    raise SynfundusError(f"job {job.name}: the dashboard ended ({forwarder.failure}); run the command again")


def _head_and_token(namespace: "Namespace", job: RayJob) -> tuple[str, str]:
    """Return the name of the head pod of the job's Ray cluster, and the token that its dashboard requires.

    Raises:
        WrongInputError: the job has no Ray cluster now.
    """
    from synfundus.cluster.kube import one_line_errors

    heads = namespace.pods(f"ray.io/cluster={job.cluster},ray.io/node-type=head") if job.cluster else []
    if not heads:
        raise WrongInputError(
            f"job {job.name} is {job.state} and has no Ray cluster; the chart's value jobs.keepSeconds keeps one longer"
        )
    with one_line_errors(f"cannot read the token of Ray in Secret {job.token_secret}"):
        secret = namespace.core.read_namespaced_secret(job.token_secret, namespace.name)
    return heads[-1].metadata.name, base64.b64decode(secret.data["auth_token"]).decode()
