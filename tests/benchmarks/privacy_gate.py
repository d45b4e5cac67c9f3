"""Show that the privacy gate fails an over-trained generator, passes an honest one, and that planted copies are found.

    python tests/benchmarks/privacy_gate.py
    SYNFUNDUS_REAL_DATA=FOLDER python tests/benchmarks/privacy_gate.py --real --size-px 64

Trains a copy detector and two generators of one architecture: one on all training photographs, and one on 64 of them,
for more steps. Both are sampled, audited and judged as `evaluate` does it. Then altered copies of training photographs
are planted among phantoms of other people, or among the test photographs with `--real`, one in a thousand. Writes
tests/benchmarks/results/privacy_gate_<images>_cpu2_202611.md.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from altered_copies import write_dataset
from numpy.typing import NDArray
from report_table import keep, machine, table

from support.attacked_sets import photographs_of, samples_of
from support.datasets_of_phantoms import phantom_dataset
from support.models_of_phantoms import train_copy_detector
from synfundus.copies.alterations import ALTERATIONS, altered_copy
from synfundus.copies.config import CopyDetectorConfig
from synfundus.copies.descriptors import read_descriptors
from synfundus.copies.detector import CopyDetector, load_copy_detector
from synfundus.copies.gate import read_gate
from synfundus.copies.reference import read_reference
from synfundus.diffusion.checkpoint import Generator
from synfundus.diffusion.config import GeneratorConfig, SolverConfig
from synfundus.diffusion.engine import Engine, RowRequest
from synfundus.diffusion.memorisation import NearestTrainingImage
from synfundus.diffusion.noise import sample_seed
from synfundus.diffusion.training import GeneratorLearner
from synfundus.environment import Environment
from synfundus.evaluation.privacy import measure_privacy
from synfundus.evaluation.privacy_audit import GeneratorEvidence, audit_privacy
from synfundus.evaluation.privacy_gate import privacy_verdict
from synfundus.evaluation.strata import Labels
from synfundus.evaluation.weights_attack import Choice, attack_generator
from synfundus.fundus.batches import ImageBatch, LabelBatch
from synfundus.fundus.dataset import PreparedImages
from synfundus.fundus.splits import HELD_OUT_SPLITS
from synfundus.labels import HEADS, LABEL_NAMES, condition_vector
from synfundus.measures.copies import COPY_SPACE, SampledCounts
from synfundus.measures.measure import Measure
from synfundus.measures.metrics import MeasuredPrivacy
from synfundus.measures.nearest import Reference, nearest, reference_on
from synfundus.measures.privacy import MembershipAttack, PrivacyAudit, PrivacyVerdict
from synfundus.measures.statistics import proportion
from synfundus.measures.wording import format_measure
from synfundus.phantom.config import PhantomConfig
from synfundus.phantom.records import phantom_record
from synfundus.storage import Storage, open_storage

NUM_FEW = 64
"""Training photographs of the over-trained generator."""
PLANTED_SHARE = 0.001
OTHERS_SEED = 4711
CPU = torch.device("cpu")
SOLVER = SolverConfig(name="dpmpp-2m", num_steps=20, guidance_scale=2.0)
TEXT = """# The privacy gate on an honest and on an over-trained generator

Command: `{command}`

{machine}
{setup}

{generators}

Planted copies: {planted}

{copies}

Verdicts:

{verdicts}
"""


class Few:
    """Evenly spaced training photographs of a dataset, with all of its held-out photographs."""

    def __init__(self, images: PreparedImages, num_images: int) -> None:
        self._images, self.size_px = images, images.size_px
        self.rows = np.arange(num_images, dtype=np.int64) * images.num_images("train") // num_images

    def num_images(self, split: str) -> int:
        return len(self.rows) if split == "train" else self._images.num_images(split)

    def labels(self, split: str, indices: Sequence[int] | NDArray[np.int64]) -> LabelBatch:
        return self._images.labels(split, self._of(split, indices))

    def batch(self, split: str, indices: Sequence[int] | NDArray[np.int64]) -> ImageBatch:
        return self._images.batch(split, self._of(split, indices))

    def _of(self, split: str, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
        return self.rows[np.asarray(indices)] if split == "train" else np.asarray(indices, np.int64)


@dataclass(frozen=True)
class Result:
    """Audit and verdict of one generator."""

    title: str
    num_photographs: int
    num_steps: int
    train_s: float
    privacy: MeasuredPrivacy
    audit: PrivacyAudit
    verdict: PrivacyVerdict


def expert_labels(batch: LabelBatch) -> Labels:
    values = np.stack([batch.p_BV[:, HEADS[name]].sum(axis=1) for name in LABEL_NAMES], axis=1)
    return np.where(batch.expert_BK, np.rint(values), -1).astype(np.int8)


def train_generator(images: Few, config: GeneratorConfig, search: NearestTrainingImage) -> GeneratorLearner:
    """Train in a plain loop, with a point of the memorisation curve at each checkpoint."""
    learner = GeneratorLearner(images, config, CPU)
    learner.nearest = search
    for step in range(config.num_steps):
        learner.train_step(step)
        if (step + 1) % config.checkpoint_every_steps == 0:
            learner.memorisation_points += filter(None, [learner.memorisation(step + 1)])
    learner.close()
    return learner


def sampled(learner: GeneratorLearner, images: Few, num_samples: int) -> tuple[NDArray[np.uint8], Labels]:
    """Return samples with the experts' labels of training photographs in turn, and these labels."""
    batch = images.labels("train", np.arange(num_samples) % images.num_images("train"))
    conditions = condition_vector(batch.p_BV, batch.expert_BK)
    requests = [RowRequest(row, sample_seed(0, number, 0), SOLVER) for number, row in enumerate(conditions)]
    engine = Engine(learner.ema_network, learner.config.schedule, (3, images.size_px, images.size_px))
    return engine.run(requests, 16), expert_labels(batch)


def audited(title: str, storage: Storage, images: Few, config: GeneratorConfig, num_samples: int) -> Result:
    """Train, sample, audit and judge one generator."""
    detector, gate = load_copy_detector(storage, "copy_detectors/p"), read_gate(storage, "copy_detectors/p")
    descriptors = read_descriptors(storage, "copy_detectors/p")
    whole = read_reference(storage, "copy_detectors/p")
    training_ND, patient_N = whole.descriptors_ND[images.rows], whole.patient_N[images.rows]
    held_out_MD = np.concatenate([descriptors[split] for split in HELD_OUT_SPLITS])
    reference = reference_on(training_ND, patient_N, "cpu")
    search = NearestTrainingImage(COPY_SPACE, lambda pixels: nearest(detector.descriptors(pixels), reference))
    start_s = time.perf_counter()
    learner = train_generator(images, config, search)
    train_s = time.perf_counter() - start_s
    pixels, requested = sampled(learner, images, num_samples)
    samples_ND = detector.descriptors(pixels)
    accepted = nearest(samples_ND, reference).ratio >= detector.threshold
    counts = SampledCounts(num_samples, int((~accepted).sum()))
    privacy, _ = measure_privacy(
        training_ND, [str(i) for i in patient_N], held_out_MD, samples_ND[accepted], gate, counts, "cpu"
    )
    assert isinstance(privacy, MeasuredPrivacy)
    generator = Generator(learner.ema_network, config.schedule, images.size_px, "")
    attack = attack_generator(generator, [], images, Choice(2000, 0), CPU)
    labels = {split: images.labels(split, range(images.num_images(split))) for split in ("train", *HELD_OUT_SPLITS)}
    held_out = [labels[split] for split in HELD_OUT_SPLITS]
    audit = audit_privacy(
        photographs_of(training_ND, labels["train"].patients, expert_labels(labels["train"])),
        photographs_of(
            held_out_MD,
            [patient for batch in held_out for patient in batch.patients],
            np.concatenate([expert_labels(batch) for batch in held_out]),
        ),
        samples_of(samples_ND[accepted], requested[accepted]),
        privacy,
        GeneratorEvidence(learner.memorisation_points, attack, initial_weights=False),
        "cpu",
    )
    return Result(title, len(images.rows), config.num_steps, train_s, privacy, audit, privacy_verdict(privacy, audit))


def planted_rows(
    images: PreparedImages, detector: CopyDetector, reference: Reference, others_BHWC: NDArray[np.uint8]
) -> list[list[str]]:
    """Return a row for each kind of alteration: planted copies, share found; and a row of false rejections."""

    def near(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
        return nearest(detector.descriptors(pixels), reference).ratio < detector.threshold

    training = images.batch("train", range(min(400, images.num_images("train"))))
    rows = []
    for kind in ALTERATIONS:
        copies = np.stack([altered_copy(kind, image, i) for i, image in enumerate(training.images_BHWC)])
        rows.append([kind, str(len(copies)), percent(proportion(near(copies), training.patients))])
    wrong = np.concatenate([near(others_BHWC[i : i + 256]) for i in range(0, len(others_BHWC), 256)])
    return [*rows, ["**false rejections among the others**", str(len(wrong)), percent(proportion(wrong))]]


def percent(measure: Measure) -> str:
    value, low, high = (100 * number for number in measure.interval)
    return f"{value:.2f} % ({low:.2f} to {high:.2f})"


def others(images: PreparedImages, num_others: int, *, real: bool) -> NDArray[np.uint8]:
    """Return images of other people: test photographs, or phantoms that no dataset has."""
    if real:
        return images.batch("test", range(images.num_images("test"))).images_BHWC
    config = PhantomConfig(num_images=num_others, size_px=max(32, images.size_px), seed=OTHERS_SEED)
    return np.stack([phantom_record(config, i).image_HWC for i in range(num_others)])


def generator_rows(results: Sequence[Result]) -> list[list[str]]:
    """Return the table of generators, one column each."""
    passed = {True: "passed", False: "failed"}
    cells: dict[str, Callable[[Result], str]] = {
        "training photographs": lambda result: str(result.num_photographs),
        "steps": lambda result: f"{result.num_steps} in {result.train_s:.0f} s",
        "near samples": near_samples,
        "memorisation, by step": curve,
        "membership from the accepted images": lambda result: attack_text(result.audit.attack_on_images),
        "membership from the weights": lambda result: attack_text(result.audit.attack_on_weights),
        "inference of diagnoses, excess": lambda result: format_measure(result.audit.inference.excess),
        "**gate, images**": lambda result: passed[result.verdict.passed("images")],
        "gate, weights": lambda result: passed[result.verdict.passed("weights")],
    }
    return [[title, *map(cell, results)] for title, cell in cells.items()]


def near_samples(result: Result) -> str:
    privacy = result.privacy
    bound = 100 * privacy.share_near_upper_bound
    return f"{privacy.num_near} of {privacy.num_sampled}; upper bound {bound:.2g} %"


def curve(result: Result) -> str:
    points = result.audit.memorisation
    return ", ".join(f"{point.step}: {100 * point.num_near / point.num_samples:.0f} %" for point in points)


def attack_text(attack: MembershipAttack) -> str:
    rates = [f"{format_measure(rate.sensitivity)} at {100 * rate.false_positive_rate:g} %" for rate in attack.rates]
    return f"AUC {format_measure(attack.auc)}; recognised {', '.join(rates)}"


def generator_config(size_px: int, num_steps: int, options: argparse.Namespace) -> GeneratorConfig:
    """Return the architecture of the recipes `phantom-cpu` (32 px) and `real-64`, trained for these steps."""
    return GeneratorConfig.model_validate(
        {
            "unet": {"size_px": size_px, "channels": options.channels, "norm_num_groups": 2},
            "num_steps": num_steps,
            "batch_size": 16,
            "learning_rate": 1e-3,
            "warmup_steps": 100,
            "checkpoint_every_steps": -(-num_steps // 8),
            "resources": {"num_threads": options.threads},
        }
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", action="store_true", help="photographs of SYNFUNDUS_REAL_DATA instead of phantoms")
    parser.add_argument("--size-px", type=int, default=32)
    parser.add_argument("--channels", type=int, nargs="+", default=[32, 64, 96, 96])
    parser.add_argument("--num-phantoms", type=int, default=3000)
    parser.add_argument("--honest-steps", type=int, default=2400)
    parser.add_argument("--over-trained-steps", type=int, default=6000)
    parser.add_argument("--detector-steps", type=int, default=1000)
    parser.add_argument("--num-samples", type=int, default=512)
    parser.add_argument("--num-others", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as root:
        storage = open_storage(root)
        if options.real:
            folder = Environment().real_data
            assert folder is not None, "export SYNFUNDUS_REAL_DATA=<folder of the photographs>"
            write_dataset(storage, Path(folder), options.size_px, 0)
        else:
            phantom_dataset(storage, "data/p", options.num_phantoms, options.size_px)
        images = PreparedImages(storage, "data/p")
        config = CopyDetectorConfig.model_validate(
            {"num_steps": options.detector_steps, "resources": {"num_threads": options.threads}}
        )
        train_copy_detector(storage, "data/p", "copy_detectors/p", config)
        results = [
            audited(
                title,
                storage,
                Few(images, num_images),
                generator_config(options.size_px, num_steps, options),
                options.num_samples,
            )
            for title, num_images, num_steps in (
                ("honest", images.num_images("train"), options.honest_steps),
                ("over-trained", NUM_FEW, options.over_trained_steps),
            )
        ]
        reference = read_reference(storage, "copy_detectors/p").on("cpu")
        detector = load_copy_detector(storage, "copy_detectors/p")
        rows = planted_rows(images, detector, reference, others(images, options.num_others, real=options.real))
    kind = "photographs" if options.real else "phantoms"
    keep(f"privacy_gate_{kind}", report(options, kind, images, results, rows))


def report(
    options: argparse.Namespace, kind: str, images: PreparedImages, results: Sequence[Result], planted: list[list[str]]
) -> str:
    """Return the page of results."""
    held_out = sum(images.num_images(split) for split in HELD_OUT_SPLITS)
    return TEXT.format(
        command="python tests/benchmarks/privacy_gate.py" + (" --real --size-px 64" if options.real else ""),
        machine=machine("torch", "numpy"),
        setup=f"{images.num_images('train')} training and {held_out} held-out {kind} of {options.size_px} px;"
        f" channels {options.channels}; {options.num_samples} samples of each generator.",
        generators=table(["generator", *(result.title for result in results)], generator_rows(results)),
        planted=f"altered copies of training {kind} among images of other people, one in {1 / PLANTED_SHARE:g}. Images"
        " are judged one by one, so each copy is planted once per kind.",
        copies=table(["alteration", "images", "taken for copies"], planted),
        verdicts="\n".join(verdict_line(result) for result in results),
    )


def verdict_line(result: Result) -> str:
    reasons = " ".join(f"{reason}." for reason in result.verdict.reasons)
    return f"- {result.title}: {f'failed. {reasons}' if reasons else 'passed.'}"


if __name__ == "__main__":
    main()
