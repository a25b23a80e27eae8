"""Line charts as inline SVG. The page's CSS gives the colours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10

__all__ = ["Axis", "Line", "chart", "linear", "logarithmic"]

WIDTH, HEIGHT = 720, 260
LEFT, RIGHT, TOP, BOTTOM = 64, 32, 12, 40


@dataclass(frozen=True, slots=True)
class Axis:
    """``place`` maps a value to 0..1. ``ticks`` are pairs (value, label)."""

    title: str
    place: Callable[[float], float]
    ticks: Sequence[tuple[float, str]]


@dataclass(frozen=True, slots=True)
class Line:
    """A curve: its name, its points (x, y), and the CSS class that gives its colour."""

    name: str
    points: Sequence[tuple[float, float]]
    css: str


def linear(title: str, low: float, high: float, label: Callable[[float], str]) -> Axis:
    """An axis between the round numbers around ``low`` and ``high``, with about five ticks."""
    span = max(high - low, 1e-9)
    step = 10.0 ** floor(log10(span / 5))
    step *= next(factor for factor in (1, 2, 5, 10) if span / (step * factor) <= 6)
    first, last = floor(low / step + 1e-9), ceil(high / step - 1e-9)
    ticks = [number * step for number in range(first, max(last, first + 1) + 1)]
    bottom, top = ticks[0], ticks[-1]
    labelled = [(tick, label(tick)) for tick in ticks]
    return Axis(title, lambda value: (value - bottom) / (top - bottom), labelled)


def logarithmic(title: str, low: float, high: float, label: Callable[[float], str]) -> Axis:
    """An axis of the decades that contain ``low`` and ``high``, both above 0."""
    first, last = floor(log10(low) + 1e-9), ceil(log10(high) - 1e-9)
    last = max(last, first + 1)
    ticks = [10.0**power for power in range(first, last + 1)]
    return Axis(title, lambda value: (log10(value) - first) / (last - first), [(t, label(t)) for t in ticks])


def chart(name: str, across: Axis, up: Axis, lines: Sequence[Line]) -> str:
    """Return an SVG element: axes, grid and curves, and the names of the curves where there are several."""

    def at(x: float, y: float) -> tuple[float, float]:
        return (
            LEFT + min(1.0, max(0.0, across.place(x))) * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - min(1.0, max(0.0, up.place(y))) * (HEIGHT - TOP - BOTTOM),
        )

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(name)}">']
    for value, text in up.ticks:
        _, y = at(across.ticks[0][0], value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(label_text(text, LEFT - 6, y + 4, "end"))
    for value, text in across.ticks:
        x, _ = at(value, up.ticks[0][0])
        parts.append(label_text(text, x, HEIGHT - BOTTOM + 16, "middle"))
    parts.append(label_text(across.title, (LEFT + WIDTH) / 2, HEIGHT - 6, "middle"))
    parts.append(label_text(up.title, LEFT + 6, TOP + 10, "start"))
    for i, line in enumerate(lines):
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*point) for point in line.points))
        parts.append(f'<polyline class="{line.css}" points="{points}"/>')
        if len(lines) > 1:
            parts.append(label_text(line.name, WIDTH - RIGHT, TOP + 10 + 16 * i, "end", line.css))
    return "".join([*parts, "</svg>"])


def label_text(text: str, x: float, y: float, anchor: str, css: str = "") -> str:
    return f'<text class="{css}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
