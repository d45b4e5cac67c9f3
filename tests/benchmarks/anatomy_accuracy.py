"""Measure the errors of the measures of anatomy on rendered phantoms, whose anatomy is known.

    PYTHONPATH=tests OMP_NUM_THREADS=1 python tests/benchmarks/anatomy_accuracy.py

Writes tests/benchmarks/results/anatomy_cpu2_202611.md. `evaluation/anatomy/errors.py` holds the same numbers; copy the
printed lines there after a change of the measures.
"""

import time

import numpy as np
from report_table import keep, machine, table

from support.anatomy_accuracy import Measured, measure_phantoms
from synfundus.measures.diversity_metrics import ANATOMY_MEASURES, AnatomyName

SIZES_PX = (32, 64, 128, 256)
NUM_PHANTOMS = 240


def row(name: AnatomyName, size_px: int, measured: Measured) -> list[str]:
    """Return one line of the table."""
    found, true = measured.pairs(name)
    finite = np.isfinite(found)
    error, deviation = measured.error(name, size_px), (found - true)[finite]
    return [
        f"`{name}`",
        f"{size_px} px",
        str(len(true)),
        f"{error.found:.3f}",
        f"{true.mean():.3f} ({true.std():.3f})",
        f"{error.median_error:.3f}",
        f"{np.quantile(np.abs(deviation), 0.9):.3f}",
        f"{np.median(deviation):+.3f}",
        f"{error.rank_correlation:.3f}",
    ]


def main() -> None:
    body, lines, times = [], [], []
    for size_px in SIZES_PX:
        start = time.process_time()
        measured = measure_phantoms(size_px, NUM_PHANTOMS)
        times.append(f"{1000 * (time.process_time() - start) / NUM_PHANTOMS:.0f} ms at {size_px} px")
        body += [row(name, size_px, measured) for name in ANATOMY_MEASURES]
        errors = [(name, measured.error(name, size_px)) for name in ANATOMY_MEASURES]
        entries = (f'"{name}": ({e.median_error}, {e.rank_correlation}, {e.found})' for name, e in errors)
        lines.append(f"    {size_px}: {{{', '.join(entries)}}},")
    head = [
        *(
            "measure",
            "size",
            "phantoms",
            "found",
            "true mean (SD)",
            "median absolute error",
            "90th percentile",
            "median",
        ),
        "rank correlation",
    ]
    keep(
        "anatomy",
        f"""# Errors of the measures of anatomy

Command: `PYTHONPATH=tests OMP_NUM_THREADS=1 python tests/benchmarks/anatomy_accuracy.py`

{machine("numpy", "pillow", "scipy")} CPU time of rendering and measuring a phantom: {", ".join(times)}.

{NUM_PHANTOMS} phantoms at each size, every second one healthy, the others with random labels. Phantoms with a finding
that changes or hides the structure are left out, as in the comparison of a report. The error is that of the phantoms in
which the structure was found; "median" is the median of measured minus true value.

{table(head, body)}
""",
    )
    print("\n".join(lines))


if __name__ == "__main__":
    main()
