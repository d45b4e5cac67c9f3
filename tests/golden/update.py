"""Write the golden loss curves: the first 20 steps of both trainings, tiny, on phantoms, fp32, one thread.

PYTHONPATH=tests .venv/bin/python tests/golden/update.py

Run it if something that is computed has changed on purpose, and give the reason in the commit.
tests/unit/test_golden_losses.py compares with these files.
"""

import hashlib
import json
import platform
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from support.datasets_of_phantoms import phantom_dataset
from synfundus.diagnosis.config import AnnotatorConfig
from synfundus.diagnosis.training import AnnotatorLearner
from synfundus.diffusion.config import GeneratorConfig
from synfundus.diffusion.training import GeneratorLearner
from synfundus.digests import canonical_json
from synfundus.fundus.dataset import PreparedImages
from synfundus.storage import open_storage
from synfundus.training.learner import Learner

MODELS = ("generator", "annotator")
NUM_STEPS, NUM_IMAGES, SIZE_PX = 20, 64, 32
LIBRARIES = ("torch", "torchvision", "diffusers", "timm", "numpy")
COMMON = {
    "num_steps": NUM_STEPS,
    "batch_size": 16,
    "learning_rate": 1e-3,
    "warmup_steps": 5,
    "resources": {"precision": "fp32", "num_threads": 1},
}
GENERATOR = GeneratorConfig.model_validate(
    COMMON
    | {
        "batch_size": 8,
        "unet": {"size_px": SIZE_PX, "channels": (8, 16), "norm_num_groups": 4, "dropout": 0.1},
        "min_snr_gamma": 5.0,
        "timestep_sampling": "log-normal",
        "accumulation_steps": 2,
    }
)
# The activations are smooth: with ReLU, rounding that differs between CPUs grows to 1 % within 20 steps.
ANNOTATOR = AnnotatorConfig.model_validate(
    COMMON
    | {"architecture": "test_efficientnet", "image_size_px": SIZE_PX, "rotation_deg": 8.0, "scale": 0.1, "dropout": 0.1}
)


def golden_file(model: str) -> Path:
    """Return the file with the losses of a model."""
    return Path(__file__).parent / f"{model}_{NUM_STEPS}_steps.json"


def _learner(model: str, images: PreparedImages) -> Learner:
    cpu = torch.device("cpu")
    return (
        GeneratorLearner(images, GENERATOR, cpu) if model == "generator" else AnnotatorLearner(images, ANNOTATOR, cpu)
    )


def _pixels_sha256(images: PreparedImages) -> str:
    digest = hashlib.sha256()
    for batch in images.batches("train", NUM_IMAGES):
        digest.update(batch.images_BHWC.tobytes())
    return digest.hexdigest()


def twenty_steps(model: str) -> dict[str, Any]:
    """Return the losses of the first 20 steps of `generator` or `annotator`, and everything that they depend on."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as folder:
            storage = open_storage(folder)
            phantom_dataset(storage, "data/golden", NUM_IMAGES, SIZE_PX)
            images = PreparedImages(storage, "data/golden")
            learner = _learner(model, images)
            losses = [learner.train_step(step).loss for step in range(NUM_STEPS)]
            return {
                "losses": losses,
                "settings": learner.config.model_dump(mode="json"),
                "images": {"num": images.num_images("train"), "pixels_sha256": _pixels_sha256(images)},
                "versions": {name: version(name) for name in LIBRARIES} | {"python": platform.python_version()},
                "cpu_capability": torch.backends.cpu.get_cpu_capability(),
            }
    finally:
        torch.set_num_threads(num_threads)


def main() -> None:
    """Write both files, and print how far the losses moved."""
    for model in MODELS:
        now, file = twenty_steps(model), golden_file(model)
        if file.exists():
            before = json.loads(file.read_text())["losses"]
            furthest = max(abs(new - old) / abs(old) for new, old in zip(now["losses"], before, strict=True))
            print(f"{file.name}: moved by at most {furthest:.1e} of a loss")
        file.write_bytes(canonical_json(now))
        print(f"{file.name}: {now['losses'][0]:.4f} to {now['losses'][-1]:.4f}")


if __name__ == "__main__":
    main()
