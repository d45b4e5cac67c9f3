"""The endpoints on this machine: check the models, start Ray Serve, print the address, stop at Ctrl-C."""

import logging
import shlex
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from synfundus.distributed.session import ray_session
from synfundus.errors import SynfundusError, WrongInputError
from synfundus.stages.requirements import require_gpu
from synfundus.stages.sample import require_new_images
from synfundus.storage import is_complete, open_storage
from synfundus.study import Study, load_study
from synfundus_serve.api_keys import new_key, read_keys

NUM_REPLICAS = 3
"""One replica each of the gateway, the generation and the diagnosis."""
MAX_REASON_CHARS = 500
"""Longest text of an error of Ray's, which may hold a whole traceback."""


def serve_study(
    file: Path, overrides: Sequence[str], host: str, port: int, keys: Path | None, *, without_keys: bool
) -> None:
    """Serve the finished models of a study until Ctrl-C or SIGTERM, then finish the requests that are under way.

    They have up to 60 s, in which new requests are refused; a second Ctrl-C or SIGTERM ends the service at once.

    Args:
        file: the study's file.
        overrides: `a.b=c` settings on top.
        keys: file of the API keys to admit. None: one key is made for this run.
        without_keys: admit every request; `keys` is ignored.

    Raises:
        WrongInputError: a model is not complete or cannot judge new images, a GPU is missing, the port is taken, or
            the file of keys is not valid.
        SynfundusError: the endpoints did not start.
    """
    with _admitted_keys(keys, without_keys=without_keys) as (keys_file, shown_key):
        _require_servable(load_study(file, overrides), file, overrides)
        require_free(host, port)
        try:
            with ray_session(NUM_REPLICAS):
                for number in (signal.SIGINT, signal.SIGTERM):  # Ray sets its own handlers when it starts
                    signal.signal(number, signal.default_int_handler)
                _start(file, overrides, keys_file, host, port)
                sys.stdout.write(greeting(f"http://{host}:{port}", shown_key))
                sys.stdout.flush()
                _wait_for_interrupt()
                _drain()
        except KeyboardInterrupt:
            pass
        sys.stderr.write("stopped\n")


def _wait_for_interrupt() -> None:
    """Return at Ctrl-C or SIGTERM."""
    with suppress(KeyboardInterrupt):
        threading.Event().wait()


def _drain() -> None:
    """Finish the requests that are under way, and refuse new ones."""
    from synfundus_serve.edge.draining import DRAIN_S, refuse_new_requests, wait_for_requests

    refuse_new_requests()
    if not wait_for_requests(0):
        return
    sys.stderr.write(f"finishing requests for up to {DRAIN_S:g} s; Ctrl-C ends at once\n")
    if num_cut := wait_for_requests():
        sys.stderr.write(f"{num_cut} requests were cut after {DRAIN_S:g} s\n")


@contextmanager
def _admitted_keys(keys: Path | None, *, without_keys: bool) -> Iterator[tuple[Path | None, str | None]]:
    """Yield the file of keys and the key that the greeting shows; both are None if every request is admitted."""
    if without_keys:
        yield None, None
    elif keys is not None:
        read_keys(keys)
        yield keys.absolute(), "$KEY"
    else:
        with tempfile.TemporaryDirectory(prefix="synfundus-") as folder:
            file = Path(folder) / "keys"
            yield file, new_key(file, "this-run")


def _require_servable(study: Study, file: Path, overrides: Sequence[str]) -> None:
    """Refuse a study whose models cannot be served.

    Raises:
        WrongInputError: a model is not complete or cannot judge new images, or this machine has no GPU.
    """
    require_new_images(study)
    storage = open_storage(study.root, create=False)
    needed = {study.generator_folder: "train-generator", study.annotator_folder: "train-annotator"}
    if study.serving.withhold_copies:
        needed[study.copy_detector_folder] = "train-copy-detector"
    for folder, verb in needed.items():
        if not is_complete(storage, folder):
            command = shlex.join(["synfundus", verb, str(file), *(f"--set={override}" for override in overrides)])
            raise WrongInputError(f"{folder} is not complete below {storage.root}; run `{command}` first")
    require_gpu("serving.generation", study.serving.generation)
    require_gpu("serving.diagnosis", study.serving.diagnosis)


def require_free(host: str, port: int) -> None:
    """Refuse an address that nothing can listen on; Ray Serve would try for a long time.

    Raises:
        WrongInputError: the port is taken or not allowed, or the host is not of this machine.
    """
    try:
        with socket.create_server((host, port)):
            pass
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise WrongInputError(f"{host}:{port}: cannot listen ({reason}); choose another --host or --port") from error


def _start(file: Path, overrides: Sequence[str], keys_file: Path | None, host: str, port: int) -> None:
    """Start the endpoints; return once they answer."""
    from ray import serve  # Ray reads its environment at import, and `ray_session` sets it
    from ray.exceptions import RayError

    from synfundus_serve.edge.install import CONTROLLER_OPTIONS
    from synfundus_serve.gateway import Arguments, build

    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    sys.stderr.write("loading the generator and the annotator\n")
    arguments = Arguments(
        study=str(file),
        overrides=tuple(overrides),
        keys_file=None if keys_file is None else str(keys_file),
        without_keys=keys_file is None,
    )
    try:
        serve.start(http_options={"host": host, "port": port}, controller_options=CONTROLLER_OPTIONS)
        serve.run(build(arguments), name="synfundus")
    except (RuntimeError, TimeoutError, RayError) as error:
        reason = " ".join(str(error).split())[:MAX_REASON_CHARS]
        raise SynfundusError(f"the endpoints did not start ({reason})") from error


def greeting(url: str, key: str | None) -> str:
    """Return the address, and one request to each endpoint that can be copied."""
    header = "" if key is None else f' -H "Authorization: Bearer {key}"'
    return (
        f"serving at {url}  (documentation: {url}/docs; research use only; Ctrl-C ends it)\n"
        f"curl -s {url}/v1/generate{header} -H 'Accept: image/png' -H 'Content-Type: application/json'"
        """ -d '{"condition": {"eye_side": 1, "is_fundus": 1}, "seed": 7}' -o sample.png\n"""
        f"curl -s {url}/v1/diagnose{header} -F images=@sample.png\n"
    )
