"""`synfundus cluster …`: run studies as RayJobs of a Kubernetes cluster that has the chart, and follow them."""

import argparse
import base64
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from synfundus.cluster import jobs, pods
from synfundus.cluster.forward import Forwarder
from synfundus.cluster.kube import Namespace, connect, one_line_errors
from synfundus.cluster.template import find_template, require_reachable, settings_of
from synfundus.errors import SynfundusError, WrongInputError
from synfundus.study import Study, load_study
from synfundus_jobs.job import DONE, FAILED, OneLineParser, guarded, show_rows

DASHBOARD_PORT = 8265
DAY_S = 86_400


def parser() -> argparse.ArgumentParser:
    top = OneLineParser(prog="synfundus cluster", description=__doc__)
    verbs = top.add_subparsers(dest="verb", required=True)
    for verb, (text, _) in VERBS.items():
        sub = verbs.add_parser(verb, help=text, description=text)
        if verb != "list":
            sub.add_argument("study", type=Path, metavar="STUDY", help="the study's YAML file")
            sub.add_argument("--set", action="append", default=[], metavar="A.B=C", help="a setting on top of the file")
        sub.add_argument("--namespace", "-n", help="default: that of the kubeconfig's context")
        sub.add_argument("--context", help="context of the kubeconfig; default: the current one")
        sub.add_argument("--debug", action="store_true", help="show the traceback of an error")
        if verb == "submit":
            sub.add_argument("--release", help="release of the chart, where the namespace has several")
        if verb == "logs":
            sub.add_argument("--follow", "-f", action="store_true", help="go on as more is written")
        if verb == "wait":
            sub.add_argument("--timeout", type=float, default=DAY_S, metavar="S", help="seconds (default: a day)")
        if verb == "dashboard":
            sub.add_argument("--port", type=int, default=DASHBOARD_PORT, help="on this machine (default: %(default)s)")
    return top


def _study(options: argparse.Namespace) -> Study:
    return load_study(options.study, options.set)


def _command(verb: str, options: argparse.Namespace) -> str:
    """`synfundus VERB` of the same study, to be copied."""
    overrides = "".join(f" --set {shlex.quote(override)}" for override in options.set)
    return f"synfundus {verb} {options.study}{overrides}"


def _text(options: argparse.Namespace) -> str:
    """The study's file as the chart would take it: with the ends of its lines."""
    text: str = options.study.read_bytes().decode("utf-8")
    return text


def _job(namespace: Namespace, options: argparse.Namespace) -> jobs.JobView:
    study = _study(options)
    return jobs.find(namespace, study.name, settings_of(_text(options), options.set))


def submit(namespace: Namespace, options: argparse.Namespace) -> int:
    study, text = _study(options), _text(options)
    require_reachable(study, "\n".join([text, *options.set]))
    template = find_template(namespace, options.release)
    job, done = jobs.submit(namespace, template, study, text, options.set)
    said = f"{done}, {job.state}" if done == jobs.THERE else done
    sys.stdout.write(f"job {job.name} {said}; follow it: {_command('cluster wait', options)} -n {namespace.name}\n")
    return DONE


def list_jobs(namespace: Namespace, _: argparse.Namespace) -> int:
    found = [jobs.view(job) for job in namespace.jobs()]
    if not found:
        sys.stdout.write(f"no jobs in {namespace.name}; `synfundus cluster submit` makes one\n")
        return DONE
    show_rows(f"jobs in {namespace.name}", [(job.name, f"{job.state:<9}  {jobs.age(job)}") for job in found])
    return DONE


def status(namespace: Namespace, options: argparse.Namespace) -> int:
    job = _job(namespace, options)
    counts = ", ".join(f"{pool} {count}" for pool, count in sorted(pods.workers(namespace, job).items()))
    rows = [("state", job.state), ("submitted", f"{jobs.age(job)} ago"), ("Ray pods", counts or "none")]
    rows += [("waits", trouble) for trouble in pods.troubles(namespace, job)]
    if job.message:
        rows.append(("message", " ".join(job.message.split())))
    show_rows(f"job {job.name}", rows)
    return DONE


def logs(namespace: Namespace, options: argparse.Namespace) -> int:
    for part in pods.logs(namespace, _job(namespace, options), keep_following=options.follow):
        try:
            sys.stdout.buffer.write(part)
            sys.stdout.buffer.flush()
        except BrokenPipeError:  # nobody reads on, as with `| head`; nor what Python would flush at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            break
    return DONE


def wait(namespace: Namespace, options: argparse.Namespace) -> int:
    """Ends with where the report is and the command that fetches it."""
    for job in jobs.follow(namespace, _job(namespace, options).name, options.timeout):
        sys.stdout.write(f"job {job.name} {job.state}\n")
        sys.stdout.flush()
    if job.state == jobs.FAILED:
        sys.stderr.write(
            f"error: job {job.name} failed ({' '.join(job.message.split()) or 'no message'});"
            f" {_command('cluster logs', options)} -n {namespace.name} says why\n"
        )
        return FAILED
    page = f"{job.root.rstrip('/')}/{_study(options).report_folder}/index.html"
    sys.stdout.write(f"report: {page}\nfetch it: {_command('fetch', options)}\n")
    return DONE


def cancel(namespace: Namespace, options: argparse.Namespace) -> int:
    job = _job(namespace, options)
    jobs.cancel(namespace, job)
    sys.stdout.write(f"job {job.name} is gone; what it wrote stays, and submitting again goes on from there\n")
    return DONE


def dashboard(namespace: Namespace, options: argparse.Namespace) -> int:
    """The Ray dashboard of the job, until interrupted."""
    job = _job(namespace, options)
    heads = namespace.pods(f"ray.io/cluster={job.cluster},ray.io/node-type=head") if job.cluster else []
    if not heads:
        raise WrongInputError(f"job {job.name} is {job.state} and has no Ray cluster; jobs.keepSeconds keeps it longer")
    with one_line_errors("cannot read the token of Ray"):
        secret = namespace.core.read_namespaced_secret(job.cluster, namespace.name)
    token = base64.b64decode(secret.data["auth_token"]).decode()
    try:
        forwarder = Forwarder(namespace, heads[-1].metadata.name, DASHBOARD_PORT, options.port)
    except OSError as error:
        raise WrongInputError(f"cannot listen on port {options.port} ({error.strerror}); choose another") from error
    sys.stdout.write(f"dashboard of {job.name}: http://127.0.0.1:{options.port}  (token {token}; Ctrl-C ends it)\n")
    sys.stdout.flush()
    try:
        with forwarder:
            forwarder.serve_forever()
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        return DONE
    raise SynfundusError(f"the dashboard of {job.name} ended: {forwarder.failure}")


VERBS: dict[str, tuple[str, Callable[[Namespace, argparse.Namespace], int]]] = {
    "submit": ("run the study as a job; submitting twice is one job", submit),
    "list": ("the jobs of the namespace", list_jobs),
    "status": ("state and pods of the study's job", status),
    "logs": ("what the study's job wrote", logs),
    "wait": ("wait for the study's job; ends with its report's address", wait),
    "cancel": ("delete the study's job; what it wrote stays", cancel),
    "dashboard": ("the Ray dashboard of the study's job on this machine", dashboard),
}


def main(argv: Sequence[str]) -> int:
    options = parser().parse_args(argv)

    def body() -> int:
        return VERBS[options.verb][1](connect(options.context, options.namespace), options)

    return guarded(body, debug=options.debug)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
