"""Make pictures of digits by code: strokes of a pen, moved and bent at random, for tests and for trials without any file."""

import math

import numpy as np

__all__ = ["CLASSES", "LICENCE", "digit"]

CLASSES = tuple("0123456789")
LICENCE = "none needed (made by code)"


def _arc(x: float, y: float, wide: float, high: float, first: float, last: float) -> list[tuple[float, float]]:
    """Draw part of an ellipse around (x, y), from one angle to another in degrees, 0 to the right, 90 down."""
    turns = np.radians(np.linspace(first, last, 9))
    return [(x + wide * math.cos(turn), y + high * math.sin(turn)) for turn in turns]


# Lines through points (x to the right, y down, both -1 to 1): the pen's way for each digit.
_STROKES: dict[int, list[list[tuple[float, float]]]] = {
    0: [_arc(0, 0, 0.6, 1, 0, 360)],
    1: [[(-0.35, -0.65), (0.05, -1), (0.05, 1)]],
    2: [[*_arc(0, -0.5, 0.6, 0.5, 190, 380), (-0.6, 1), (0.65, 1)]],
    3: [[*_arc(0, -0.5, 0.55, 0.5, 200, 450), *_arc(0, 0.48, 0.6, 0.52, -90, 150)]],
    4: [[(0.3, 1), (0.3, -1), (-0.65, 0.35), (0.7, 0.35)]],
    5: [[(0.55, -1), (-0.45, -1), (-0.5, -0.1), *_arc(0, 0.4, 0.6, 0.6, 220, 510)]],
    6: [[(0.4, -1), *_arc(0, 0.4, 0.55, 0.6, 200, 560)]],
    7: [[(-0.6, -1), (0.6, -1), (-0.15, 1)]],
    8: [_arc(0, -0.5, 0.48, 0.48, 90, 450), _arc(0, 0.5, 0.58, 0.5, -90, 270)],
    9: [[*_arc(0, -0.4, 0.55, 0.58, 0, 360), (0.5, 0.2), (0.3, 1)]],
}


def digit(label: int, seed: int, size: int = 28) -> np.ndarray:
    """Draw a digit: uint8 (1, size, size), white on black; the same for the same label, seed and size."""
    rng = np.random.default_rng((label, seed))
    turn, lean = rng.normal(0, 0.12), rng.normal(0, 0.15)
    wide, high = 0.30 * size * rng.uniform(0.85, 1.15), 0.34 * size * rng.uniform(0.85, 1.1)
    spin = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    shape = spin @ np.array([[wide, -lean * wide], [0, high]])
    middle = (size - 1) / 2 + rng.normal(0, 0.02 * size, 2)
    pen = 0.045 * size * rng.uniform(0.7, 1.4)
    rows, columns = np.mgrid[:size, :size]
    pixels = np.stack((columns, rows), -1).reshape(-1, 1, 2).astype(float)
    nearest = np.full(size * size, np.inf)
    for stroke in _STROKES[label]:
        points = (np.array(stroke) + rng.normal(0, 0.03, (len(stroke), 2))) @ shape.T + middle
        start, way = points[:-1], np.diff(points, axis=0)
        along = ((pixels - start) * way).sum(-1) / np.maximum((way**2).sum(-1), 1e-9)
        gap = pixels - start - np.clip(along, 0, 1)[..., None] * way
        nearest = np.minimum(nearest, np.sqrt((gap**2).sum(-1)).min(1))
    # An edge of one pixel's width, as a lens would have it.
    ink = np.clip(pen + 0.5 - nearest, 0, 1).reshape(1, size, size)
    return np.rint(255 * ink).astype(np.uint8)
