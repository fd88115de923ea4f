"""A plot of a few lines as SVG, for the documentation: no library is needed to draw one."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 560, 320, 56, 110, 16, 44
COLOURS = (
    "#0b7285",
    "#e67700",
    "#5f3dc4",
    "#2b8a3e",
    "#c92a2a",
    "#495057",
    "#a61e4d",
    "#5c940d",
)
"""Open Color's darker tones, which hold on white and on dark grey."""

GRID, INK = "#ced4da", "#868e96"
TICKS = 4


@dataclass(frozen=True)
class Line:
    """A named line through points (x, y), neither of them negative."""

    name: str
    points: Sequence[tuple[float, float]]


def plot(across: str, upwards: str, lines: Sequence[Line]) -> str:
    """An SVG with both axes from 0. `across` and `upwards` say what they are."""
    most_x = max(x for line in lines for x, _ in line.points) or 1
    most_y = max(y for line in lines for _, y in line.points) or 1

    def place(x: float, y: float) -> tuple[float, float]:
        right = LEFT + x / most_x * (WIDTH - LEFT - RIGHT)
        return right, HEIGHT - BOTTOM - y / most_y * (HEIGHT - TOP - BOTTOM)

    parts = [_grid(place(0, most_y * n / TICKS)[1], most_y * n / TICKS) for n in range(TICKS + 1)]
    parts += [
        _text(place(x, 0)[0], HEIGHT - BOTTOM + 18, f"{x:g}", "middle")
        for x in dict.fromkeys(x for line in lines for x, _ in line.points)
    ]
    parts += [
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, across, "middle"),
        _text(LEFT, TOP - 4, upwards, "start"),
    ]
    for number, line in enumerate(lines):
        parts += _line(line.name, [place(*point) for point in line.points], number)
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"'
        f' aria-label="{escape(upwards)} by {escape(across)}" font-family="sans-serif"'
        f' font-size="11">\n{body}\n</svg>\n'
    )


def _line(name: str, points: Sequence[tuple[float, float]], number: int) -> list[str]:
    colour = COLOURS[number % len(COLOURS)]
    way = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    key = TOP + 14 * (number + 1)
    return [
        f'<polyline points="{way}" fill="none" stroke="{colour}" stroke-width="2"/>',
        *(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour}"/>' for x, y in points),
        f'<rect x="{WIDTH - RIGHT + 12}" y="{key - 8}" width="10" height="4" fill="{colour}"/>',
        _text(WIDTH - RIGHT + 28, key - 2, name, "start"),
    ]


def _grid(y: float, value: float) -> str:
    line = f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="{GRID}"/>'
    return line + _text(LEFT - 6, y + 4, f"{value:.2g}", "end")


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{INK}">{escape(text)}</text>'
    )
