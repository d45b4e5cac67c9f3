"""Measure whether each finding of the phantom is visible if its label says so, and only then.

    OMP_NUM_THREADS=1 python tests/benchmarks/phantom_findings.py

For 256, 64 and 32 px a small classifier is trained from scratch on phantoms and tested on others: AUC per label. At
256 px the same classifier is tested once more per label, on phantoms that lack that label's finding: its AUC must fall
to chance. The speed of rendering is measured, too. Writes tests/benchmarks/results/phantom_cpu2_202611.md.
"""

import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from report_table import machine, table
from sklearn.metrics import cohen_kappa_score
from torch import Tensor, nn

from synfundus.labels import (
    DISEASES,
    HEAD_NAMES,
    HEADS,
    LABEL_NAMES,
    NUM_DR_HEADS,
    READABILITY,
    LabelRow,
    encode_values,
    expand_known,
)
from synfundus.phantom.labels import JUDGED_IN, draw_phantom_labels
from synfundus.phantom.render import render

RESULT = Path(__file__).parent / "results" / "phantom_cpu2_202611.md"
COMMAND = "OMP_NUM_THREADS=1 python tests/benchmarks/phantom_findings.py"
TEST_SEED = 10_000_000
NUM_TEST = 1500
NUM_TIMED = 500
BATCH = 32
CHANCE_Z = 2.955
"""Two-sided normal quantile of 1 - 0.05 / 16, so that the 16 intervals of missing findings hold jointly with 95 %."""
TIED = {region: (region, *diseases) for region, diseases in JUDGED_IN.items()} | {"is_fundus": LABEL_NAMES}
"""Labels that the rules tie to a readability label; their findings are omitted together with its own.

A disease is null, and so not rendered, if its region is not readable; all diseases are null if there is no fundus. So
if only the label's own finding were omitted, phantoms of its two values would still differ: only one kind has
diseases, and a classifier could read the label from them. To test whether the label itself leaves a trace, everything
else must be distributed alike for both values.
"""


@dataclass(frozen=True)
class Budget:
    """Amount of training for one size."""

    size_px: int
    input_px: int
    """Size of the classifier's input; small phantoms are enlarged, because its strides would shrink them to nothing."""
    num_train: int
    num_epochs: int


BUDGETS = (Budget(256, 256, 5000, 9), Budget(64, 128, 5000, 9), Budget(32, 96, 5000, 9))


def classifier() -> nn.Module:
    """Return a half-width resnet10t with 1.2 million weights."""
    model = timm.create_model("resnet10t", num_classes=len(HEAD_NAMES), channels=(32, 64, 128, 256), stem_width=16)
    assert isinstance(model, nn.Module)
    return model.to(memory_format=torch.channels_last)


def phantoms(rows: Sequence[LabelRow], seeds: Iterable[int], size_px: int, missing: Collection[str] = ()) -> Tensor:
    """Return phantoms (N, 3, H, W) uint8 of label rows, without the findings of the labels `missing`."""
    out = [render(row, seed, size_px, omit=missing) for row, seed in zip(rows, seeds, strict=True)]
    return torch.from_numpy(np.stack(out)).permute(0, 3, 1, 2)


def forward(model: nn.Module, x_BCHW: Tensor, input_px: int) -> Tensor:
    x = (x_BCHW.float() / 127.5 - 1.0).contiguous(memory_format=torch.channels_last)
    if x.shape[-1] != input_px:
        x = nn.functional.interpolate(x, size=(input_px, input_px), mode="bilinear")
    with torch.autocast("cpu", torch.bfloat16):
        logits: Tensor = model(x)
    return logits.float()


def batches(num: int, epochs: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    for _ in range(epochs):
        yield from np.array_split(rng.permutation(num), num // BATCH)


def train(budget: Budget) -> nn.Module:
    """Train by masked binary cross-entropy on 19 heads, AdamW, one cycle; a mirrored phantom shows the other eye."""
    seeds = range(budget.num_train)
    rows = [draw_phantom_labels(seed) for seed in seeds]
    x_NCHW = phantoms(rows, seeds, budget.size_px)
    p_NV, known_NK = encode_values(rows)
    y_NV, w_NV = torch.from_numpy(p_NV), torch.from_numpy(expand_known(known_NK)).float()
    torch.manual_seed(0)
    model, rng = classifier(), np.random.default_rng(0)
    order = list(batches(budget.num_train, budget.num_epochs, rng))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=len(order), pct_start=0.15)
    side = HEADS["eye_side"].start
    for step, index in enumerate(order):
        x_BCHW, y_BV, w_BV = x_NCHW[index], y_NV[index].clone(), w_NV[index]
        mirror = torch.from_numpy(rng.uniform(size=len(index)) < 0.5)
        x_BCHW = torch.where(mirror[:, None, None, None], x_BCHW.flip(-1), x_BCHW)
        y_BV[mirror, side] = 1.0 - y_BV[mirror, side]
        logits_BV = forward(model, x_BCHW, budget.input_px)
        loss_BV = nn.functional.binary_cross_entropy_with_logits(logits_BV, y_BV, reduction="none")
        loss = (loss_BV * w_BV).sum() / w_BV.sum()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            print(f"{budget.size_px} px: step {step} of {len(order)}, loss {loss.item():.4f}", flush=True)
    return model.eval()


@torch.no_grad()
def predict(model: nn.Module, x_NCHW: Tensor, input_px: int) -> NDArray[np.float64]:
    """Return the logits (N, 19)."""
    parts = [forward(model, part, input_px) for part in torch.split(x_NCHW, 64)]
    return torch.cat(parts).double().numpy()


@dataclass(frozen=True)
class Auc:
    """Area under the ROC curve with DeLong's standard error (DeLong 1988, eq. 3 to 6)."""

    value: float
    error: float
    num_positive: int
    num: int

    def text(self, z: float = 1.96) -> str:
        low, high = max(0.0, self.value - z * self.error), min(1.0, self.value + z * self.error)
        return f"{self.value:.3f} ({low:.3f} to {high:.3f})"

    def at_chance(self) -> bool:
        return abs(self.value - 0.5) <= CHANCE_Z * self.error


def auc(score: NDArray[np.float64], truth: NDArray[np.bool_]) -> Auc:
    positive, negative = score[truth], score[~truth]
    wins = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    variance = wins.mean(axis=1).var(ddof=1) / len(positive) + wins.mean(axis=0).var(ddof=1) / len(negative)
    return Auc(float(wins.mean()), float(np.sqrt(variance)), len(positive), len(score))


def aucs(
    logits_NV: NDArray[np.float64], rows: Sequence[LabelRow], keep_N: NDArray[np.bool_] | None = None
) -> dict[str, Auc]:
    """Return the AUC of each of the 19 heads over the rows in which its label is known."""
    p_NV, known_NK = encode_values(rows)
    known_NV = expand_known(known_NK) & (True if keep_N is None else keep_N[:, None])
    out = {}
    for v, name in enumerate(HEAD_NAMES):
        chosen = known_NV[:, v]
        truth = p_NV[chosen, v] > 0.5
        if 0 < truth.sum() < len(truth):
            out[name] = auc(logits_NV[chosen, v], truth)
    return out


def kappa(logits_NV: NDArray[np.float64], rows: Sequence[LabelRow]) -> float:
    """Return the quadratic kappa of the DR grade, which is the number of positive logits."""
    grade = [row["dr_grade"] for row in rows]
    known = np.array([value is not None for value in grade])
    predicted = (logits_NV[known, :NUM_DR_HEADS] > 0.0).sum(axis=1)
    truth = [value for value in grade if value is not None]
    return float(cohen_kappa_score(truth, predicted, weights="quadratic", labels=list(range(NUM_DR_HEADS + 1))))


def shows(row: LabelRow, names: Iterable[str]) -> bool:
    """Return whether a phantom shows findings of these labels: one of them is known and not the default."""
    default: LabelRow = dict.fromkeys(DISEASES, 0) | dict.fromkeys(READABILITY, 1)
    return any(row[name] is not None and row[name] != default.get(name) for name in names)


def logits_without(
    model: nn.Module, rows: Sequence[LabelRow], whole_NV: NDArray[np.float64], missing: Collection[str], budget: Budget
) -> NDArray[np.float64]:
    """Return the logits of the same phantoms without the findings of the labels `missing`.

    A phantom that shows none of these findings would be the same, and is not rendered again.

    Args:
        whole_NV: logits of the phantoms with all findings.
    """
    index = [i for i, row in enumerate(rows) if shows(row, missing)]
    changed, seeds = [rows[i] for i in index], [TEST_SEED + i for i in index]
    logits_NV = whole_NV.copy()
    logits_NV[index] = predict(model, phantoms(changed, seeds, budget.size_px, missing), budget.input_px)
    return logits_NV


def aucs_of(name: str, logits_NV: NDArray[np.float64], rows: Sequence[LabelRow]) -> dict[str, Auc]:
    """Return the AUC of the heads of one label whose finding is missing."""
    # Without a fundus no region is readable, with or without its finding. So only fundus phantoms are compared.
    keep_N = np.array([row["is_fundus"] == 1 for row in rows]) if name in JUDGED_IN else None
    return {head: value for head, value in aucs(logits_NV, rows, keep_N).items() if head.split(">=")[0] == name}


def rendered_per_second(size_px: int) -> float:
    """Return how many phantoms one core renders per second of CPU time, with their labels."""
    start = time.process_time()
    for seed in range(TEST_SEED, TEST_SEED + NUM_TIMED):
        render(draw_phantom_labels(seed), seed, size_px)
    return NUM_TIMED / (time.process_time() - start)


@dataclass(frozen=True)
class Measured:
    """Results of one size."""

    budget: Budget
    shown: dict[str, Auc]
    kappa: float
    per_second: float
    """Phantoms rendered per second."""
    seconds: float
    """CPU time of everything, in seconds."""
    missing: dict[str, Auc]
    """AUC of each head without the findings in `TIED`; at 256 px only, as the next two."""
    own_missing: dict[str, Auc]
    """AUC of each readability label without its own finding only."""
    missing_kappa: float
    """Quadratic kappa of the DR grade without its findings."""


def measure(budget: Budget, rows: Sequence[LabelRow]) -> Measured:
    """Train and test at one size."""
    start = time.process_time()
    per_second = rendered_per_second(budget.size_px)
    model = train(budget)
    seeds = range(TEST_SEED, TEST_SEED + len(rows))
    logits_NV = predict(model, phantoms(rows, seeds, budget.size_px), budget.input_px)
    missing: dict[str, Auc] = {}
    own_missing: dict[str, Auc] = {}
    missing_kappa = 0.0
    if budget.size_px == 256:
        for name in LABEL_NAMES:
            without_NV = logits_without(model, rows, logits_NV, TIED.get(name, (name,)), budget)
            missing |= aucs_of(name, without_NV, rows)
            if name == "dr_grade":
                missing_kappa = kappa(without_NV, rows)
        for name in TIED:
            own_missing |= aucs_of(name, logits_without(model, rows, logits_NV, (name,), budget), rows)
    return Measured(
        budget=budget,
        shown=aucs(logits_NV, rows),
        kappa=kappa(logits_NV, rows),
        per_second=per_second,
        seconds=time.process_time() - start,
        missing=missing,
        own_missing=own_missing,
        missing_kappa=missing_kappa,
    )


def main() -> None:
    began = time.process_time()
    torch.set_num_threads(1)
    rows = [draw_phantom_labels(TEST_SEED + i) for i in range(NUM_TEST)]
    measured = []
    for budget in BUDGETS:
        measured.append(measure(budget, rows))
        print(budget.size_px, {name: round(value.value, 3) for name, value in measured[-1].shown.items()}, flush=True)
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(result_text(measured, time.process_time() - began))
    print(RESULT.read_text())


def result_text(measured: Sequence[Measured], seconds: float) -> str:
    large, *small = measured
    body = [
        [
            f"`{name}`",
            f"{large.shown[name].num_positive} / {large.shown[name].num}",
            large.shown[name].text(),
            large.missing[name].text(),
            "yes" if large.missing[name].at_chance() else "**no**",
            *(f"{each.shown[name].value:.3f}" for each in small),
        ]
        for name in HEAD_NAMES
    ]
    kappas = [f"{large.kappa:.3f}", f"{large.missing_kappa:.3f}", "", *(f"{each.kappa:.3f}" for each in small)]
    body.append(["DR quadratic kappa", "", *kappas])
    small_px = [f"{each.budget.size_px} px" for each in small]
    head = ["head", "positive / n", "AUC, 256 px (95 %)", "finding missing (95 %)", "at chance", *small_px]
    tied = [[f"`{name}`", large.own_missing[name].text(), large.missing[name].text()] for name in TIED]
    enough = all(value.value >= 0.95 for value in large.shown.values())
    chance = all(value.at_chance() for value in large.missing.values())
    budgets = "\n".join(_budget_text(each) for each in measured)
    rates = ", ".join(f"{each.per_second:.0f} at {each.budget.size_px} px" for each in measured)
    return f"""# Findings of the phantoms

Command: `{COMMAND}`

{machine("numpy", "pillow", "scipy", "scikit-learn", "torch", "timm")} One thread, {seconds:.0f} s in all; all
times are CPU time.

Half-width resnet10t from scratch, bf16, AdamW, one cycle. Training seeds 0 and up; test seeds {TEST_SEED} and up,
{NUM_TEST} phantoms.

{budgets}

- AUC >= 0.95 for every head at 256 px: **{"yes" if enough else "no"}**.
- Every head at chance when its finding is missing: **{"yes" if chance else "no"}**.
- Phantoms rendered per second on one core: {rates} ({NUM_TIMED} of each, with their labels).

{table(head, body)}

Missing: the same classifier and the same phantoms, without the finding of that label. "At chance": the DeLong
interval at level 1 - 0.05 / 16 contains 0.5. The intervals of all 16 labels hold jointly with 95 %; the printed ones
are plain 95 % intervals. Readability of a region is compared among fundus phantoms only: without a fundus no region is
readable, and omitting a finding cannot change that.

For a readability label, the findings that the rules tie to it are omitted, too, in the phantoms of both its values: the
diseases judged in that region, or everything for `is_fundus`. A disease is null, so not rendered, if its region is not
readable. If only the label's own finding were omitted, only phantoms whose label is 1 would show diseases, and the
classifier would read the label from them. That is a relation between labels, not a trace of the finding:

{table(["head", "own finding missing (95 %)", "tied findings missing, too (95 %)"], tied)}
"""


def _budget_text(each: Measured) -> str:
    budget = each.budget
    training = f"{budget.num_train} phantoms, {budget.num_epochs} epochs, enlarged to {budget.input_px} px"
    return f"- {budget.size_px} px: {training}; {each.seconds:.0f} s, rendering and tests included."


if __name__ == "__main__":
    main()
