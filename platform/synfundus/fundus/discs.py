"""Decide whether a lit region has the shape of a field of view, and find the disc in a region that has not."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

MAX_OUTSIDE_FRACTION = 0.005
"""Largest fraction of a disc that lies beyond the circle around it. The largest of 838 photographs of two cameras is
0.0014."""
MIN_FULL_FRACTION = 0.9
"""Smallest fraction of the circle around a disc, within its box, that is lit. A smaller one may be a disc with a bar
beside it, or a disc that is lit in part."""
RECTANGLE_FRACTION = 0.97
"""Smallest fraction of its box that a rectangle fills. A disc fills 0.79, one cut at top and bottom 0.85 to 0.92."""
CUT_RECTANGLE_FRACTION = 0.9
"""Smallest fraction of its box that a rectangle with cut corners fills."""
NUM_TRIALS = 400
"""Circles through three random points of the edge that are compared."""
MAX_RADIUS = 0.8
"""Largest radius of a circle, relative to the longer side of the frame. A straight edge fits larger ones."""
MIN_ARC_FRACTION = 0.5
"""Smallest fraction of the visible circle on which the edge of the region lies."""
MIN_VISIBLE_FRACTION = 0.12
"""Smallest fraction of the whole circle on which the edge of the region lies."""
MIN_LIT_FRACTION = 0.6
"""Smallest fraction of the visible disc that is lit."""
Region = NDArray[np.bool_]
Box = tuple[int, int, int, int]
"""Left, top, right, bottom."""


@dataclass(frozen=True)
class Circle:
    """A circle in pixels. It may reach beyond the frame."""

    x: float
    y: float
    radius: float

    def inside(self, shape: tuple[int, ...], margin_px: float) -> Region:
        """Return the pixels of a frame within the circle, widened by `margin_px`, (H, W)."""
        y, x = np.ogrid[: shape[0], : shape[1]]
        inside_HW: Region = np.hypot(x + 0.5 - self.x, y + 0.5 - self.y) <= self.radius + margin_px
        return inside_HW


def box_of(region_HW: Region) -> Box:
    """Return the box around a region, without thin protrusions (text, flares)."""
    # A column of a disc of radius r whose height is 6 % of the largest lies 0.2 % of r inside the edge.
    columns, rows = region_HW.sum(axis=0), region_HW.sum(axis=1)
    wide, high = (np.flatnonzero(counts >= 0.06 * counts.max()) for counts in (columns, rows))
    return int(wide[0]), int(high[0]), int(wide[-1]) + 1, int(high[-1]) + 1


def fills_box(region_HW: Region, min_fraction: float = RECTANGLE_FRACTION) -> bool:
    """Return whether a region is a rectangle: fills at least `min_fraction` of its box."""
    left, top, right, bottom = box_of(region_HW)
    return bool(region_HW[top:bottom, left:right].mean() >= min_fraction)


def field_in(region_HW: Region) -> Region | None:
    """Return the part of a lit region that is a field of view: a disc, a cut disc or a rectangle.

    A region may be no full disc, for example where the bar of a report touches the disc. It is cut to the circle on
    which most of its edge lies. None if there is no such circle and the region reaches beyond the circle around it.
    """
    if fills_box(region_HW):
        return region_HW
    left, top, right, bottom = box_of(region_HW)
    radius = max(right - left, bottom - top) / 2
    around_HW = Circle((left + right) / 2, (top + bottom) / 2, radius).inside(region_HW.shape, 1 + 0.02 * radius)
    is_within = (region_HW & ~around_HW).sum() <= MAX_OUTSIDE_FRACTION * region_HW.sum()
    if is_within and (region_HW & around_HW).sum() >= MIN_FULL_FRACTION * around_HW[top:bottom, left:right].sum():
        return region_HW
    circle = _circle_of_edge(region_HW)
    if circle is None:  # a field that is lit in part, or that the frame cuts at its corners, is accepted
        return region_HW if is_within or fills_box(region_HW, CUT_RECTANGLE_FRACTION) else None
    return region_HW & circle.inside(region_HW.shape, 1.0)


def _circle_of_edge(region_HW: Region) -> Circle | None:
    """Return the circle on which most of the edge of a region lies (RANSAC: Fischler and Bolles 1981), or None."""
    edge_HW = region_HW & ~ndimage.binary_erosion(region_HW, border_value=1)  # not the border of the frame
    y, x = np.argwhere(edge_HW).T.astype(np.float64) + 0.5
    if len(x) < 3:
        return None
    triples = np.random.default_rng(0).integers(0, len(x), (NUM_TRIALS, 3))
    circles = _circles_through(x[triples], y[triples])
    circles = circles[
        (circles[:, 2] > 0.1 * min(region_HW.shape)) & (circles[:, 2] < MAX_RADIUS * max(region_HW.shape))
    ]
    if not len(circles):
        return None
    distance_TN = np.abs(np.hypot(x - circles[:, :1], y - circles[:, 1:2]) - circles[:, 2:])
    near_TN = distance_TN <= 1 + 0.01 * circles[:, 2:]
    near = near_TN[near_TN.sum(axis=1).argmax()]
    circle = _fitted(x[near], y[near])
    return circle if _is_disc(circle, region_HW, edge_HW) else None


def _circles_through(x_T3: NDArray[np.float64], y_T3: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return x, y and radius of the circle through each triple of points, (T, 3); triples on a line are dropped."""
    dx, dy = x_T3[:, 1:] - x_T3[:, :1], y_T3[:, 1:] - y_T3[:, :1]
    squares = dx**2 + dy**2
    determinant = 2 * (dx[:, 0] * dy[:, 1] - dx[:, 1] * dy[:, 0])
    keep = np.abs(determinant) > 1e-6
    dx, dy, squares, determinant = dx[keep], dy[keep], squares[keep], determinant[keep]
    cx = (squares[:, 0] * dy[:, 1] - squares[:, 1] * dy[:, 0]) / determinant
    cy = (squares[:, 1] * dx[:, 0] - squares[:, 0] * dx[:, 1]) / determinant
    return np.stack([x_T3[keep, 0] + cx, y_T3[keep, 0] + cy, np.hypot(cx, cy)], axis=1)


def _fitted(x: NDArray[np.float64], y: NDArray[np.float64]) -> Circle:
    """Return the least-squares circle of points (Kåsa 1976)."""
    unknowns, *_ = np.linalg.lstsq(np.stack([x, y, np.ones_like(x)], axis=1), x**2 + y**2, rcond=None)
    cx, cy = unknowns[0] / 2, unknowns[1] / 2
    return Circle(float(cx), float(cy), float(np.sqrt(max(unknowns[2] + cx**2 + cy**2, 0.0))))


def _is_disc(circle: Circle, region_HW: Region, edge_HW: Region) -> bool:
    """Return whether enough of the visible circle is edge, and enough of the visible disc is lit."""
    height, width = region_HW.shape
    angle = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    x, y = circle.x + circle.radius * np.cos(angle), circle.y + circle.radius * np.sin(angle)
    visible = (x > 2) & (x < width - 2) & (y > 2) & (y < height - 2)
    inside_HW = circle.inside(region_HW.shape, 0.0)
    if not visible.any() or not inside_HW.any():
        return False
    reach = round(1.5 + 0.01 * circle.radius)
    near_HW = ndimage.binary_dilation(edge_HW, iterations=reach)
    on_edge = near_HW[y[visible].astype(int), x[visible].astype(int)]
    is_circle = on_edge.mean() >= MIN_ARC_FRACTION and on_edge.sum() >= MIN_VISIBLE_FRACTION * len(angle)
    return bool(is_circle and region_HW[inside_HW].mean() >= MIN_LIT_FRACTION)
