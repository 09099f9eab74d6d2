"""Plots in SVG, by hand: bars, and lines over a logarithmic axis."""

import html
import math

COLORS = ["#2f6fab", "#e08a2e", "#4f9d5d", "#b5473c", "#7d62a8", "#5f6b76", "#c9a227", "#3aa6a6"]
LEFT, WIDTH, BAR, GAP = 330, 520, 15, 10


def number(value):
    """With three digits that count."""
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}"


def text(x, y, words, anchor="start", **more):
    extra = "".join(f' {key.replace("_", "-")}="{value}"' for key, value in more.items())
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{extra}>{html.escape(str(words))}</text>'


def page(width, height, title, parts):
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height:.0f}" width="{width}" height="{height:.0f}" '
            f'font-family="sans-serif" font-size="12" fill="#222"><rect width="100%" height="100%" fill="#fff"/>'
            + text(10, 20, title, font_size=14, font_weight="bold") + "".join(parts) + "</svg>")


def legend(names, y):
    parts, x = [], 10
    for name, color in names:
        parts.append(f'<rect x="{x}" y="{y - 10}" width="11" height="11" fill="{color}"/>' + text(x + 16, y, name))
        x += 34 + 7 * len(name)
    return "".join(parts)


def bars(title, groups, log=False, limit=None):
    """`groups`: (label, [(name, value or None)]). `limit`: (value, words), a line across."""
    names = list(dict.fromkeys(name for _, found in groups for name, _ in found))
    color = {name: COLORS[i % len(COLORS)] for i, name in enumerate(names)}
    values = [value for _, found in groups for _, value in found if value]
    if not values:
        return ""
    most = max([*values, limit[0] if limit else 0])
    least = 10 ** math.floor(math.log10(min(values))) if log else 0

    def place(value):
        if log:
            return WIDTH * max(0.0, math.log(value / least) / math.log(most / least)) if most > least else WIDTH
        return WIDTH * value / most

    parts, y = [legend(color.items(), 42)] if len(names) > 1 else [], 60
    for label, found in groups:
        found = [(name, value) for name, value in found if value]
        height = BAR * len(found)
        parts.append(text(LEFT - 8, y + height / 2 + 4, label, "end"))
        for name, value in found:
            length = place(value)
            parts.append(f'<rect x="{LEFT}" y="{y}" width="{length:.1f}" height="{BAR - 2}" fill="{color[name]}"/>'
                         + text(LEFT + length + 4, y + BAR - 4, number(value), font_size=11))
            y += BAR
        y += GAP
    if limit:
        x = LEFT + place(limit[0])
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="52" y2="{y - GAP}" stroke="#b00" stroke-dasharray="4 3"/>'
                     + text(x, y + 4, limit[1], "middle", font_size=11, fill="#b00"))
        y += 14
    return page(LEFT + WIDTH + 80, y + 6, title, parts)


def lines(title, points, unit):
    """`points`: (x, y), over a logarithmic x; y starts at 0."""
    points = sorted(points)
    wide, high, left, top = 340, 170, 60, 40
    most = max(y for _, y in points) * 1.15 or 1
    first, last = math.log10(points[0][0]), math.log10(points[-1][0])

    def place(x, y):
        across = (math.log10(x) - first) / (last - first) if last > first else 0.5
        return left + wide * across, top + high * (1 - y / most)

    parts = []
    for part in range(5):
        value = most * part / 4
        y = place(points[0][0], value)[1]
        parts.append(f'<line x1="{left}" x2="{left + wide}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
                     + text(left - 6, y + 4, number(value), "end", font_size=11))
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in points))
    parts.append(f'<polyline points="{path}" fill="none" stroke="{COLORS[0]}" stroke-width="2"/>')
    for x, y in points:
        at = place(x, y)
        parts.append(f'<circle cx="{at[0]:.1f}" cy="{at[1]:.1f}" r="3.5" fill="{COLORS[0]}"/>'
                     + text(at[0], at[1] - 8, number(y), "middle", font_size=11)
                     + text(at[0], top + high + 16, f"{x:,}", "middle", font_size=11))
    parts.append(text(left, top + high + 34, unit, font_size=11, fill="#666"))
    return page(left + wide + 40, top + high + 44, title, parts)
