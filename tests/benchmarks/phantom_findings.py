"""Do the phantom's findings show, each where its label says and nowhere else?

    OMP_NUM_THREADS=1 python tests/benchmarks/phantom_findings.py

For 256, 64 and 32 px a small classifier is trained from scratch on phantoms and tested on unseen ones: AUC per label.
At 256 px the same classifier then sees the unseen phantoms again, once per label with that label's finding undrawn:
its AUC must fall to chance. Writes tests/benchmarks/results/phantom_cpu2_202611.md.
"""

import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL
import scipy
import sklearn
import timm
import torch
from numpy.typing import NDArray
from sklearn.metrics import cohen_kappa_score
from torch import Tensor, nn

from synfundus.fundus.phantom import draw_labels, render
from synfundus.labels import HEAD_NAMES, HEADS, LABEL_NAMES, NUM_DR_HEADS, LabelRow, encode_values, expand_known

RESULT = Path(__file__).parent / "results" / "phantom_cpu2_202611.md"
COMMAND = "OMP_NUM_THREADS=1 python tests/benchmarks/phantom_findings.py"
TEST_SEED = 10_000_000
NUM_TEST = 1500
BATCH = 32
SIDE = LABEL_NAMES.index("eye_side")
CHANCE_Z = 2.955
"""Two-sided normal quantile of 1 - 0.05 / 16: all 16 intervals of undrawn findings hold together with 95 %."""


@dataclass(frozen=True)
class Budget:
    """How much training one size gets."""

    size_px: int
    input_px: int
    """What the classifier is shown: small pictures are enlarged, so that its strides do not eat them."""
    num_train: int
    num_epochs: int


BUDGETS = (Budget(256, 256, 5000, 9), Budget(64, 128, 5000, 9), Budget(32, 96, 5000, 9))


def classifier() -> nn.Module:
    """A half-width resnet10t: 1.2 million weights."""
    model = timm.create_model("resnet10t", num_classes=len(HEAD_NAMES), channels=(32, 64, 128, 256), stem_width=16)
    assert isinstance(model, nn.Module)
    return model.to(memory_format=torch.channels_last)


def pictures(rows: Sequence[LabelRow], first_seed: int, size_px: int) -> Tensor:
    """Phantoms (N, 3, H, W) uint8 of label rows; row i has seed `first_seed` + i."""
    out = np.stack([render(row, first_seed + i, size_px) for i, row in enumerate(rows)])
    return torch.from_numpy(out).permute(0, 3, 1, 2)


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
    """Masked binary cross-entropy over the 19 heads, AdamW, one cycle; a mirrored picture is of the other eye."""
    rows = [draw_labels(seed) for seed in range(budget.num_train)]
    x_NCHW = pictures(rows, 0, budget.size_px)
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
    """Logits (N, 19)."""
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
    """AUC of each of the 19 heads over rows where its label is known."""
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
    """Quadratic kappa of the DR grade, read off as the number of thresholds passed."""
    grade = [row["dr_grade"] for row in rows]
    known = np.array([value is not None for value in grade])
    seen = (logits_NV[known, :NUM_DR_HEADS] > 0.0).sum(axis=1)
    truth = [value for value in grade if value is not None]
    return float(cohen_kappa_score(truth, seen, weights="quadratic", labels=list(range(NUM_DR_HEADS + 1))))


def undrawn_logits(
    model: nn.Module, rows: Sequence[LabelRow], x_NCHW: Tensor, name: str, input_px: int
) -> NDArray[np.float64]:
    """Predictions with the finding of one label left out of every picture that has it."""
    x_NCHW = x_NCHW.clone()
    for i, row in enumerate(rows):
        x_NCHW[i] = torch.from_numpy(render(row, TEST_SEED + i, x_NCHW.shape[-1], undrawn={name})).permute(2, 0, 1)
    return predict(model, x_NCHW, input_px)


def table(head: list[str], body: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def main() -> None:
    began = time.process_time()
    torch.set_num_threads(1)
    rows = [draw_labels(TEST_SEED + i) for i in range(NUM_TEST)]
    fundus_N = np.array([row["is_fundus"] == 1 for row in rows])
    by_size, kappas, seconds = {}, {}, {}
    undrawn: dict[str, Auc] = {}
    for budget in BUDGETS:
        start = time.process_time()
        model = train(budget)
        x_NCHW = pictures(rows, TEST_SEED, budget.size_px)
        logits_NV = predict(model, x_NCHW, budget.input_px)
        by_size[budget.size_px], kappas[budget.size_px] = aucs(logits_NV, rows), kappa(logits_NV, rows)
        if budget.size_px == 256:
            for name in LABEL_NAMES:
                without_NV = undrawn_logits(model, rows, x_NCHW, name, budget.input_px)
                # Where there is no fundus no region is readable either, drawn or not: that is no finding of the region.
                keep_N = fundus_N if name.endswith("_readable") else None
                seen = aucs(without_NV, rows, keep_N)
                undrawn |= {head: value for head, value in seen.items() if head.split(">=")[0] == name}
                if name == "dr_grade":
                    kappas[0] = kappa(without_NV, rows)
        seconds[budget.size_px] = time.process_time() - start
        print(budget.size_px, {name: round(value.value, 3) for name, value in by_size[budget.size_px].items()})
    print("undrawn", {name: value.text() for name, value in undrawn.items()})

    body = []
    for name in HEAD_NAMES:
        shown = by_size[256][name]
        body.append(
            [
                f"`{name}`",
                f"{shown.num_positive} / {shown.num}",
                shown.text(),
                undrawn[name].text(),
                "yes" if undrawn[name].at_chance() else "**no**",
                f"{by_size[64][name].value:.3f}",
                f"{by_size[32][name].value:.3f}",
            ]
        )
    body.append(
        [
            "DR quadratic kappa",
            "",
            f"{kappas[256]:.3f}",
            f"{kappas[0]:.3f}",
            "",
            f"{kappas[64]:.3f}",
            f"{kappas[32]:.3f}",
        ]
    )
    head = ["head", "positive / n", "AUC, 256 px (95 %)", "finding undrawn (95 %)", "at chance", "64 px", "32 px"]
    enough = all(value.value >= 0.95 for value in by_size[256].values())
    chance = all(value.at_chance() for value in undrawn.values())
    budgets = "; ".join(
        f"{b.size_px} px: {b.num_train} phantoms, {b.num_epochs} epochs, shown at {b.input_px} px, "
        f"{seconds[b.size_px]:.0f} s"
        for b in BUDGETS
    )
    versions = ", ".join(f"{module.__name__} {module.__version__}" for module in (np, PIL, scipy, sklearn, torch, timm))
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(
        f"""# Findings of the phantom

`{COMMAND}`, one thread on {platform.processor() or platform.machine()}, Python {platform.python_version()};
{versions}; {time.process_time() - began:.0f} s of processor time in all.

Half-width resnet10t from scratch, bf16, AdamW, one cycle. Training seeds 0 and up; test seeds {TEST_SEED} and up,
{NUM_TEST} phantoms. {budgets} (processor time, rendering and tests included).

- AUC >= 0.95 for every head at 256 px: **{"yes" if enough else "no"}**.
- Every head at chance when its finding is undrawn: **{"yes" if chance else "no"}**.

{table(head, body)}
Undrawn: the same classifier, the same phantoms, the finding of that label left out. "At chance": the DeLong interval at
1 - 0.05 / 16 holds 0.5. Readability of a region is compared among fundus photographs, for where there is none no
region is readable and a missing finding cannot change that.
"""
    )
    print(RESULT.read_text())


if __name__ == "__main__":
    main()
