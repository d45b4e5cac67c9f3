"""Measure which altered copies of real photographs are found, by the copy detector and by a grey image of 16 px.

    SYNFUNDUS_REAL_DATA=FOLDER PYTHONPATH=tests python tests/benchmarks/altered_copies.py

For each size, the photographs of `studies/fundus-real.yaml` are prepared and split by patient as a study does it. The
detector is trained on the training photographs, and both sides are calibrated on the validation photographs by the same
rule. Altered copies of training photographs should be found; photographs of the test split, which show other people,
should not be rejected. Writes tests/benchmarks/results/altered_copies_cpu2_202611.md.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from grey_descriptor import grey_descriptor
from numpy.typing import NDArray
from report_table import keep, machine, prepare_data, table

from support.models_of_phantoms import train_copy_detector
from synfundus.copies.alterations import ALTERATIONS, altered_copy
from synfundus.copies.calibration import calibrate
from synfundus.copies.config import CopyDetectorConfig
from synfundus.copies.detector import load_copy_detector
from synfundus.fundus.dataset import PreparedImages
from synfundus.labels import FloatArray
from synfundus.measures.measure import Measure
from synfundus.measures.nearest import nearest, reference_on
from synfundus.measures.statistics import proportion
from synfundus.storage import open_storage
from synfundus.study import load_study

STUDY = Path(__file__).parents[2] / "studies" / "fundus-real.yaml"
COMMAND = "SYNFUNDUS_REAL_DATA=FOLDER PYTHONPATH=tests python tests/benchmarks/altered_copies.py"
GOAL = "at least 95 % of each kind and of all mixed, at most 1 % of photographs of other people rejected"
Describe = Callable[[NDArray[np.uint8]], FloatArray]
TEXT = """# Altered copies of real photographs

Command: `{command}`

{machine}
{photographs}

Share found of altered copies of the training photographs, with its 95 % interval. Goal: {goal}.
Grey 16 px: the descriptor that the detector replaced. Both thresholds come from the validation photographs by the same
rule. False rejections: share of the other held-out photographs that count as copies, with the threshold from the
validation photographs (tested on the test split), and the other way round.

{rows}

{costs}
"""


@dataclass(frozen=True)
class Side:
    """Results of one descriptor at one size."""

    found: Mapping[str, Measure]
    false_rejections: Measure
    expected_rate: float


def prepared(root: str, size_px: int, seed: int) -> PreparedImages:
    """Prepare the photographs of `studies/fundus-real.yaml` at this size, split by patient with this seed."""
    overrides = [f"root={root}", f"data.prepare.size_px={size_px}", f"generator.unet.size_px={size_px}"]
    study = load_study(STUDY, [*overrides, f"data.prepare.split_seed={seed}"])
    storage = open_storage(root)
    prepare_data(study, storage)
    return PreparedImages(storage, study.data_folder)


def pixels_and_patients(images: PreparedImages, split: str) -> tuple[NDArray[np.uint8], list[str]]:
    batch = images.batch(split, range(images.num_images(split)))
    return batch.images_BHWC, batch.patients


def measure(images: PreparedImages, describe: Describe, copies: Mapping[str, NDArray[np.uint8]]) -> Side:
    """Calibrate and measure a descriptor."""
    (training, patients), validation, test = (
        pixels_and_patients(images, split) for split in ("train", "validation", "test")
    )
    reference = reference_on(describe(training), patients, "cpu")
    ratios = [nearest(describe(pixels), reference).ratio for pixels, _ in (validation, test)]
    calibrations = [calibrate(of_split, 0.01) for of_split in ratios]
    rejected = [ratios[1] < calibrations[0].threshold, ratios[0] < calibrations[1].threshold]
    threshold = calibrations[0].threshold
    return Side(
        {
            kind: proportion(nearest(describe(altered), reference).ratio < threshold, patients)
            for kind, altered in copies.items()
        },
        proportion(np.concatenate(rejected), [*test[1], *validation[1]]),
        calibrations[0].expected_rate,
    )


def run(size_px: int, seed: int, config: CopyDetectorConfig) -> tuple[Side, Side, str]:
    """Return the results of both sides at one size, and a line on what they cost."""
    with tempfile.TemporaryDirectory() as root:
        images, storage = prepared(root, size_px, seed), open_storage(root)
        start_s = time.perf_counter()
        train_copy_detector(storage, images.folder, "copy_detectors/p", config)
        train_s = time.perf_counter() - start_s
        training, _ = pixels_and_patients(images, "train")
        copies = {
            kind: np.stack([altered_copy(kind, image, i) for i, image in enumerate(training)]) for kind in ALTERATIONS
        }
        detector = load_copy_detector(storage, "copy_detectors/p")
        start_s = time.perf_counter()
        detector.descriptors(training)
        describe_ms = 1e3 * (time.perf_counter() - start_s) / len(training)
        cost = (
            f"{size_px} px: training, descriptors and measuring took {train_s:.0f} s"
            f" ({config.num_steps} steps of {config.batch_size}), a descriptor {describe_ms:.1f} ms."
        )
        return measure(images, grey_descriptor, copies), measure(images, detector.descriptors, copies), cost


def share(measured: Measure) -> str:
    value, low, high = (100 * number for number in measured.interval)
    return f"{value:.1f} % ({low:.1f} to {high:.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--seed", type=int, default=0, help="seed of the split")
    parser.add_argument("--set", nargs="*", default=[], help="settings of the copy detector, such as num_steps=500")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    values = dict(setting.split("=") for setting in options.set)
    config = CopyDetectorConfig.model_validate({**values, "resources": {"num_threads": options.threads}})
    sides: dict[tuple[int, str], Side] = {}
    costs = []
    for size_px in options.sizes:
        sides[size_px, "grey 16 px"], sides[size_px, "detector"], cost = run(size_px, options.seed, config)
        costs.append(cost)
        print(cost, flush=True)
    head = ["alteration", *(f"{size_px} px, {name}" for size_px, name in sides)]
    rows = [[kind, *(share(side.found[kind]) for side in sides.values())] for kind in ALTERATIONS]
    rows.append(["**false rejections**", *(share(side.false_rejections) for side in sides.values())])
    rows.append(["expected false rejections", *(f"{100 * side.expected_rate:.2g} %" for side in sides.values())])
    photographs = f"Photographs of one folder; the split has the seed {options.seed}; n of false rejections: " + str(
        next(iter(sides.values())).false_rejections.n
    )
    text = TEXT.format(
        command=COMMAND,
        machine=machine("torch", "numpy"),
        photographs=photographs + ".",
        goal=GOAL,
        rows=table(head, rows),
        costs="\n".join(costs),
    )
    keep("altered_copies", text)


if __name__ == "__main__":
    main()
