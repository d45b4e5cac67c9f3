"""`synfundus …`: the console script. Each verb is a module of this package; this file only finds it."""

import importlib
import sys
from collections.abc import Sequence

from synfundus import __version__

VERBS = {
    "demo": "the whole loop on procedural phantoms, on this machine, without data",
    "study": "init, show, check or run a study",
    "doctor": "what this machine has, and whether a study could run on it",
    "prepare": "read, crop, check and split real images",
    "train-annotator": "train, calibrate and measure the annotator",
    "fill": "give unknown labels calibrated probabilities",
    "train-generator": "train the conditional diffusion model",
    "sample": "draw, annotate and check the synthetic samples",
    "evaluate": "measure the samples against real photographs and write the report",
    "publish": "make a release: data, card, Croissant file, public report",
    "serve": "the generation and diagnosis endpoints on this machine",
    "cluster": "run studies on a Kubernetes cluster: submit, list, status, logs, wait, cancel, dashboard",
    "fetch": "copy the study's report to this machine",
    "key": "make an API key for the endpoints",
}
USAGE_ERROR, INTERRUPTED = 2, 130


def usage() -> str:
    lines = "\n".join(f"  {verb:<16} {text}" for verb, text in VERBS.items())
    return (
        f"SynFundus {__version__}: from fundus photographs that may not be shared to a synthetic dataset that may.\n"
        "Research use only; not a medical device.\n\n"
        f"usage: synfundus VERB …   (synfundus VERB --help says more)\n\n{lines}\n"
    )


def main(argv: Sequence[str]) -> int:
    """Hand over to the verb's own `main`; returns its exit code."""
    if not argv or argv[0] in ("-h", "--help", "help"):
        sys.stdout.write(usage())
        return 0 if argv else USAGE_ERROR
    if argv[0] in ("-V", "--version"):
        sys.stdout.write(f"synfundus {__version__}\n")
        return 0
    if argv[0] not in VERBS:
        import difflib

        close = difflib.get_close_matches(argv[0], VERBS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else "synfundus --help lists them"
        sys.stderr.write(f"error: no verb {argv[0]!r}; {hint}\n")
        return USAGE_ERROR
    module = importlib.import_module(f"synfundus_jobs.{argv[0].replace('-', '_')}")
    code: int = module.main(argv[1:])
    return code


def run() -> None:
    """The console script. A verb handles a Ctrl-C itself; this one comes while it is still being imported."""
    try:
        code = main(sys.argv[1:])
    except KeyboardInterrupt:
        sys.stderr.write("interrupted before anything was begun\n")
        code = INTERRUPTED
    sys.exit(code)
