"""Errors of the measures of anatomy on rendered phantoms (tests/benchmarks/anatomy_accuracy.py)."""

from collections.abc import Mapping

from synfundus.measures.diversity_metrics import AnatomyError, AnatomyName

_ERRORS: Mapping[int, Mapping[AnatomyName, tuple[float, float, float]]] = {
    32: {
        "disc_offset": (0.009, 0.681, 1.0),
        "disc_height": (0.007, 0.778, 1.0),
        "disc_diameter": (0.007, 0.331, 1.0),
        "cup_to_disc": (0.156, -0.122, 1.0),
        "vessel_density": (0.028, 0.021, 1.0),
        "field": (0.04, 0.881, 1.0),
    },
    64: {
        "disc_offset": (0.005, 0.891, 1.0),
        "disc_height": (0.004, 0.931, 1.0),
        "disc_diameter": (0.004, 0.754, 1.0),
        "cup_to_disc": (0.186, -0.458, 1.0),
        "vessel_density": (0.075, 0.437, 1.0),
        "field": (0.02, 0.961, 1.0),
    },
    128: {
        "disc_offset": (0.004, 0.925, 1.0),
        "disc_height": (0.004, 0.941, 1.0),
        "disc_diameter": (0.003, 0.859, 1.0),
        "cup_to_disc": (0.068, 0.096, 1.0),
        "vessel_density": (0.14, 0.476, 1.0),
        "field": (0.007, 0.991, 1.0),
    },
    256: {
        "disc_offset": (0.004, 0.924, 1.0),
        "disc_height": (0.004, 0.941, 1.0),
        "disc_diameter": (0.003, 0.849, 1.0),
        "cup_to_disc": (0.04, 0.75, 1.0),
        "vessel_density": (0.124, 0.465, 1.0),
        "field": (0.009, 0.989, 1.0),
    },
}
"""Side of the phantoms in pixels -> measure -> median absolute error, rank correlation with the truth, share found."""
SMALLEST_PX = min(_ERRORS)


def anatomy_error(name: AnatomyName, size_px: int) -> AnatomyError | None:
    """Return the error of a measure at the largest tested size up to `size_px`; None below `SMALLEST_PX`."""
    tested = max((size for size in _ERRORS if size <= size_px), default=None)
    if tested is None:
        return None
    median_error, rank_correlation, found = _ERRORS[tested][name]
    return AnatomyError(size_px=tested, median_error=median_error, rank_correlation=rank_correlation, found=found)
