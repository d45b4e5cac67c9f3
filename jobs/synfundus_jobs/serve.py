"""`synfundus serve STUDY`: the generation and diagnosis endpoints on this machine, on the study's finished models."""

import argparse
import importlib
import logging
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from synfundus.distributed.session import ray_session
from synfundus.errors import SynfundusError, WrongInputError
from synfundus.storage import is_complete, open_storage
from synfundus.study import load_study
from synfundus_jobs.job import DONE, OneLineParser, guarded, require_gpu
from synfundus_jobs.sample import require_new_images
from synfundus_serve.api_keys import new_key, read_keys

GATEWAY = "synfundus_serve.gateway"
"""Started by name: jobs and endpoints do not know each other."""
NUM_REPLICAS = 3


def parser() -> argparse.ArgumentParser:
    out = OneLineParser(prog="synfundus serve", description=__doc__)
    out.add_argument("study", type=Path, metavar="STUDY", help="the study's YAML file")
    out.add_argument("--set", action="append", default=[], metavar="A.B=C", help="a setting on top of the file")
    out.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    out.add_argument("--port", type=int, default=8000, help="(default: %(default)s)")
    keys = out.add_mutually_exclusive_group()
    keys.add_argument("--keys", type=Path, metavar="FILE", help="API keys that are let in (`synfundus key FILE NAME`)")
    keys.add_argument("--without-keys", action="store_true", help="let everybody in")
    out.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return out


def arguments_of(options: argparse.Namespace, keys_file: Path | None) -> dict[str, Any]:
    """What the gateway is built with.

    Raises:
        WrongInputError: the models are not there yet or cannot judge new images, or the study asks for a GPU that is
            not there.
    """
    study = load_study(options.study, options.set)
    require_new_images(study)
    storage = open_storage(study.root, create=False)
    for folder, verb in ((study.generator_folder, "train-generator"), (study.annotator_folder, "train-annotator")):
        if not is_complete(storage, folder):
            raise WrongInputError(
                f"{folder} is not complete below {storage.root}; `synfundus {verb} {options.study}` makes it"
            )
    require_gpu("samples", use_gpu=study.samples.use_gpu)
    return {
        "study": str(options.study),
        "overrides": tuple(options.set),
        "keys_file": None if keys_file is None else str(keys_file),
        "without_keys": keys_file is None,
    }


@contextmanager
def keys_of(options: argparse.Namespace) -> Iterator[tuple[Path | None, str | None]]:
    """The file of keys, and a key to show: one for this run where the user has none."""
    if options.without_keys:
        yield None, None
    elif options.keys is not None:
        read_keys(options.keys)
        yield options.keys.absolute(), "$KEY"
    else:
        with tempfile.TemporaryDirectory(prefix="synfundus-") as folder:
            file = Path(folder) / "keys"
            yield file, new_key(file, "this-run")


def require_free(host: str, port: int) -> None:
    """Raises WrongInputError where nothing can listen; Ray Serve would try for a long time."""
    try:
        with socket.create_server((host, port)):
            pass
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise WrongInputError(f"cannot listen on {host}:{port} ({reason}); choose another --host or --port") from error


def greeting(url: str, key: str | None) -> str:
    """Where it is, and a call that can be copied."""
    shown = "" if key is None else f' -H "Authorization: Bearer {key}"'
    return (
        f"serving at {url}  (documentation: {url}/docs; research use only; Ctrl-C ends it)\n"
        f"curl -s {url}/v1/generate{shown} -H 'Accept: image/png' -H 'Content-Type: application/json'"
        """ -d '{"condition": {"eye_side": 1, "is_fundus": 1}, "seed": 7}' -o sample.png\n"""
        f"curl -s {url}/v1/diagnose{shown} -F images=@sample.png\n"
    )


def serve(arguments: dict[str, Any], host: str, port: int, key: str | None) -> None:
    """Serve until interrupted."""
    gateway = importlib.import_module(GATEWAY)
    from ray import serve as ray_serve

    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    sys.stderr.write("loading the generator and the annotator\n")
    ray_serve.start(http_options={"host": host, "port": port})
    try:
        ray_serve.run(gateway.build(gateway.Arguments(**arguments)), name="synfundus")
    except RuntimeError as error:
        raise SynfundusError(f"the endpoints did not start ({' '.join(str(error).split())[:500]})") from error
    sys.stdout.write(greeting(f"http://{host}:{port}", key))
    sys.stdout.flush()
    threading.Event().wait()


def main(argv: Sequence[str]) -> int:
    options = parser().parse_args(argv)

    def body() -> int:
        with keys_of(options) as (keys_file, key):
            arguments = arguments_of(options, keys_file)
            require_free(options.host, options.port)
            try:
                with ray_session(NUM_REPLICAS):
                    for number in (signal.SIGINT, signal.SIGTERM):  # after Ray's start, which sets handlers of its own
                        signal.signal(number, signal.default_int_handler)
                    serve(arguments, options.host, options.port, key)
            except KeyboardInterrupt:
                sys.stderr.write("stopped\n")
        return DONE

    return guarded(body, debug=options.debug)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
