"""The first 20 losses of both trainings equal the curves in tests/golden, so that no computation changes unnoticed."""

import json

import pytest

from golden.update import MODELS, NUM_STEPS, golden_file, twenty_steps

RELATIVE_TOLERANCE = {"generator": 1e-4, "annotator": 3e-4}
"""Rounding differs between CPUs and grows over 20 steps. Measured across instruction sets (SSE4, AVX2, AVX-512), one
and two threads, with and without oneDNN: at most 2e-7 of the generator's losses and 3e-5 of the annotator's, whose
batch norms amplify it. A learning rate that is 1 % higher changes the losses by 7e-4 and 5e-3."""


@pytest.mark.parametrize("model", MODELS)
def test_the_first_20_losses_are_the_golden_ones(model: str) -> None:
    golden, now = json.loads(golden_file(model).read_text()), twenty_steps(model)
    remedy = "if this is intended, run tests/golden/update.py and give the reason in the commit"
    assert now["settings"] == golden["settings"], f"the settings differ; {remedy}"
    assert len(golden["losses"]) == NUM_STEPS
    furthest = max(abs(new - old) / abs(old) for new, old in zip(now["losses"], golden["losses"], strict=True))
    differences = {
        key: (golden[key], now[key]) for key in ("images", "versions", "cpu_capability") if golden[key] != now[key]
    }
    assert furthest <= RELATIVE_TOLERANCE[model], (
        f"the losses moved by {furthest:.1e}; {remedy}. Other differences from the file: {differences or 'none'}"
    )
