"""Show that the privacy gate fails an over-trained generator, passes an honest one, and that planted copies are found.

    synfundus demo
    PYTHONPATH=tests python tests/benchmarks/privacy_gate.py studies/demo.yaml --num-steps 6000

The honest generator is that of a finished study: its numbers and verdict are those of the study's report. The
over-trained one has the study's settings, but is trained on 64 of the training photographs. It is sampled, audited and
judged as `evaluate` does it. Then altered copies of training photographs are planted among images of other people, one
in a thousand. Writes tests/benchmarks/results/privacy_gate_<study>_cpu2_202611.md.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from report_table import keep, machine, table

from support.attacked_sets import photographs_of, samples_of
from synfundus.copies.alterations import ALTERATIONS, altered_copy
from synfundus.copies.descriptors import read_descriptors
from synfundus.copies.detector import CopyDetector, load_copy_detector
from synfundus.copies.gate import read_gate
from synfundus.copies.reference import read_reference
from synfundus.diffusion.checkpoint import Generator
from synfundus.diffusion.engine import Engine, RowRequest
from synfundus.diffusion.memorisation import NearestTrainingImage
from synfundus.diffusion.noise import sample_seed
from synfundus.diffusion.training import GeneratorLearner
from synfundus.evaluation.manifest import read_metrics
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
from synfundus.study import Study, load_study

NUM_FEW = 64
"""Training photographs of the over-trained generator."""
NUM_CHECKPOINTS = 8
PLANTED_SHARE = 0.001
"""Share of copies among the images that the text after the table supposes."""
MAX_COPIES = 400
"""Largest number of training photographs that are altered, for each kind of alteration."""
NUM_OTHER_PHANTOMS = 10_000
OTHERS_SEED = 4711
MIXED = "all mixed"
FALSE_REJECTIONS = "**false rejections among the others**"
CPU = torch.device("cpu")
TEXT = """# The privacy gate on an honest and on an over-trained generator

Command: `{command}`

{machine}
{setup}

{generators}

Altered copies of training {kind}, planted among images of other people:

{copies}

{precision}

Verdicts:

{verdicts}
"""


Planted = list[tuple[str, str, Measure]]
"""Kind of images, their number, and the share that is taken for copies."""


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
    privacy: MeasuredPrivacy
    audit: PrivacyAudit
    verdict: PrivacyVerdict


def honest(study: Study, storage: Storage) -> Result:
    """Return what the report of the study says."""
    metrics = read_metrics(storage, study.report_folder)
    assert isinstance(metrics.privacy, MeasuredPrivacy)
    num_photographs = PreparedImages(storage, study.filled_folder).num_images("train")
    return Result("honest", num_photographs, study.generator.num_steps, metrics.privacy, metrics.audit, metrics.verdict)


def over_trained(study: Study, storage: Storage, images: Few, num_steps: int) -> Result:
    """Train a generator on few photographs, sample, audit and judge it."""
    folder = study.copy_detector_folder
    detector, gate = load_copy_detector(storage, folder), read_gate(storage, folder)
    descriptors, whole = read_descriptors(storage, folder), read_reference(storage, folder)
    training_ND, patient_N = whole.descriptors_ND[images.rows], whole.patient_N[images.rows]
    held_out_MD = np.concatenate([descriptors[split] for split in HELD_OUT_SPLITS])
    reference = reference_on(training_ND, patient_N, "cpu")
    learner = train(study, images, num_steps, detector, reference)
    pixels, requested = sampled(study, learner, images)
    samples_ND = detector.descriptors(pixels)
    accepted = nearest(samples_ND, reference).ratio >= detector.threshold
    counts = SampledCounts(len(pixels), int((~accepted).sum()))
    privacy, _ = measure_privacy(
        training_ND, [str(i) for i in patient_N], held_out_MD, samples_ND[accepted], gate, counts, "cpu"
    )
    assert isinstance(privacy, MeasuredPrivacy)
    generator = Generator(learner.ema_network, study.generator.schedule, images.size_px, "")
    choice = Choice(study.evaluation.attack_max_images, study.evaluation.seed)
    attack = attack_generator(generator, [], images, choice, CPU)
    labels = {split: images.labels(split, range(images.num_images(split))) for split in ("train", *HELD_OUT_SPLITS)}
    batches = [labels[split] for split in HELD_OUT_SPLITS]
    audit = audit_privacy(
        photographs_of(training_ND, labels["train"].patients, expert_labels(labels["train"])),
        photographs_of(
            held_out_MD,
            [patient for batch in batches for patient in batch.patients],
            np.concatenate([expert_labels(batch) for batch in batches]),
        ),
        samples_of(samples_ND[accepted], requested[accepted]),
        privacy,
        GeneratorEvidence(learner.memorisation_points, attack, initial_weights=False),
        "cpu",
    )
    return Result("over-trained", NUM_FEW, num_steps, privacy, audit, privacy_verdict(privacy, audit))


def train(study: Study, images: Few, num_steps: int, detector: CopyDetector, reference: Reference) -> GeneratorLearner:
    """Train in a plain loop, with a point of the memorisation curve at each checkpoint."""
    every = -(-num_steps // NUM_CHECKPOINTS)
    config = study.generator.model_copy(update={"num_steps": num_steps, "checkpoint_every_steps": every})
    learner = GeneratorLearner(images, config, CPU)
    learner.nearest = NearestTrainingImage(COPY_SPACE, lambda pixels: nearest(detector.descriptors(pixels), reference))
    for step in range(num_steps):
        learner.train_step(step)
        if (step + 1) % every == 0:
            learner.memorisation_points += filter(None, [learner.memorisation(step + 1)])
            near = np.mean(np.array(learner.memorisation_points[-1].ratios) < detector.threshold)
            print(f"step {step + 1} of {num_steps}: {near:.1%} of the samples are near", flush=True)
    learner.close()
    return learner


def expert_labels(batch: LabelBatch) -> Labels:
    values = np.stack([batch.p_BV[:, HEADS[name]].sum(axis=1) for name in LABEL_NAMES], axis=1)
    return np.where(batch.expert_BK, np.rint(values), -1).astype(np.int8)


def sampled(study: Study, learner: GeneratorLearner, images: Few) -> tuple[NDArray[np.uint8], Labels]:
    """Return as many samples as the study has, with the experts' labels of training photographs in turn, and these."""
    settings = study.samples
    batch = images.labels("train", np.arange(settings.num_samples) % images.num_images("train"))
    conditions = condition_vector(batch.p_BV, batch.expert_BK)
    requests = [RowRequest(row, sample_seed(0, number, 0), settings.solver) for number, row in enumerate(conditions)]
    engine = Engine(learner.ema_network, learner.config.schedule, (3, images.size_px, images.size_px))
    return engine.run(requests, settings.micro_batch), expert_labels(batch)


def planted_rows(
    images: PreparedImages, detector: CopyDetector, reference: Reference, others_BHWC: NDArray[np.uint8]
) -> Planted:
    """Return a row for each kind of alteration: planted copies, share found; and a row of false rejections."""

    def near(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
        return nearest(detector.descriptors(pixels), reference).ratio < detector.threshold

    training = images.batch("train", range(min(MAX_COPIES, images.num_images("train"))))
    rows: Planted = []
    for kind in ALTERATIONS:
        copies = np.stack([altered_copy(kind, image, i) for i, image in enumerate(training.images_BHWC)])
        rows.append((kind, str(len(copies)), proportion(near(copies), training.patients)))
    wrong = np.concatenate([near(others_BHWC[i : i + 256]) for i in range(0, len(others_BHWC), 256)])
    return [*rows, (FALSE_REJECTIONS, str(len(wrong)), proportion(wrong))]


def precision(planted: Planted) -> str:
    """Say how many of the images that are taken for copies are copies, within the interval of the false rejections."""
    shares = {title: share.interval for title, _, share in planted}
    found = PLANTED_SHARE * shares[MIXED][0]
    low, high = (found / (found + (1 - PLANTED_SHARE) * wrong) for wrong in reversed(shares[FALSE_REJECTIONS][1:]))
    return (
        f"If one image in {1 / PLANTED_SHARE:g} is a copy, {low:.0%} to {high:.0%} of the images that are taken for"
        f" copies are copies ({MIXED}; the range is that of the false rejections)."
    )


def percent(measure: Measure) -> str:
    value, low, high = (100 * number for number in measure.interval)
    return f"{value:.2f} % ({low:.2f} to {high:.2f})"


def others(study: Study, images: PreparedImages) -> NDArray[np.uint8]:
    """Return images of other people: test photographs, or phantoms that no dataset has."""
    if study.has_real_photographs:
        return images.batch("test", range(images.num_images("test"))).images_BHWC
    config = PhantomConfig(num_images=NUM_OTHER_PHANTOMS, size_px=max(32, images.size_px), seed=OTHERS_SEED)
    return np.stack([phantom_record(config, i).image_HWC for i in range(NUM_OTHER_PHANTOMS)])


def generator_rows(results: Sequence[Result]) -> list[list[str]]:
    """Return the table of generators, one column each."""
    passed = {True: "passed", False: "failed"}
    cells: dict[str, Callable[[Result], str]] = {
        "training photographs": lambda result: str(result.num_photographs),
        "steps": lambda result: str(result.num_steps),
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


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, help="study file of a finished study")
    parser.add_argument("--num-steps", type=int, required=True, help="training of the over-trained generator")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    study = load_study(options.study)
    storage = open_storage(study.root)
    torch.set_num_threads(study.generator.resources.num_threads)
    images = PreparedImages(storage, study.filled_folder)
    results = [honest(study, storage), over_trained(study, storage, Few(images, NUM_FEW), options.num_steps)]
    reference = read_reference(storage, study.copy_detector_folder).on("cpu")
    detector = load_copy_detector(storage, study.copy_detector_folder)
    planted = planted_rows(images, detector, reference, others(study, images))
    keep(
        f"privacy_gate_{study.name.replace('-', '_')}",
        report(study, f"studies/{options.study.name}", images, results, planted),
    )


def report(study: Study, file: str, images: PreparedImages, results: Sequence[Result], planted: Planted) -> str:
    """Return the page of results; `file` is the study's file, below the project."""
    kind = "photographs" if study.has_real_photographs else "phantoms"
    num_held_out = sum(images.num_images(split) for split in HELD_OUT_SPLITS)
    return TEXT.format(
        command=f"PYTHONPATH=tests python tests/benchmarks/privacy_gate.py {file} --num-steps {results[-1].num_steps}",
        machine=machine("torch", "numpy"),
        setup=f"{images.num_images('train')} training and {num_held_out} held-out {kind} of {images.size_px} px;"
        f" {study.samples.num_samples} samples of each generator.",
        generators=table(["generator", *(result.title for result in results)], generator_rows(results)),
        kind=kind,
        copies=table(["alteration", "images", "taken for copies"], [[*row, percent(share)] for *row, share in planted]),
        precision=precision(planted),
        verdicts="\n".join(verdict_line(result) for result in results),
    )


def verdict_line(result: Result) -> str:
    reasons = " ".join(f"{reason}." for reason in result.verdict.reasons)
    return f"- {result.title}: {f'failed. {reasons}' if reasons else 'passed.'}"


if __name__ == "__main__":
    main()
