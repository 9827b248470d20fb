"""Draw one prune-train cycle: python scripts/cycle.py writes docs/cycle.svg."""

from pathlib import Path

STEPS = [
    ("Read", "weight sparsity", "of every group"),
    ("Set ratios", "so that the target", "is met"),
    ("Select", "the lowest norms;", "protected ones stay"),
    ("Zero", "and keep a backup", "of the weights"),
    ("Train", "and read gradients", "of the channels"),
    ("Protect", "or restore those", "that matter"),
]
END = [
    ("Last step", "fixes the masks", "at the target"),
    ("Fine-tune", "the channels", "that are left"),
    ("Compact", "take the zeros out,", "check the outputs"),
]
WIDTH, HEIGHT, GAP, TOP = 132, 74, 22, 56
BLUE, GREEN, GREY = "#2f6db5", "#2e8b57", "#7a7a7a"


def box(x: int, y: int, lines: tuple[str, str, str], colour: str) -> str:
    middle = x + WIDTH // 2
    title, *rest = lines
    text = "".join(
        f'<text x="{middle}" y="{y + 42 + 16 * i}" font-size="12" fill="{GREY}">{line}</text>'
        for i, line in enumerate(rest)
    )
    return (
        f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="8" fill="{colour}" fill-opacity="0.08" '
        f'stroke="{colour}" stroke-width="1.5"/>'
        f'<text x="{middle}" y="{y + 23}" font-size="14" font-weight="600" fill="{colour}">{title}</text>{text}'
    )


def arrow(path: str, colour: str) -> str:
    return f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.5" marker-end="url(#{colour[1:]})"/>'


def drawing() -> str:
    """The whole drawing, as SVG."""
    places = [14 + i * (WIDTH + GAP) for i in range(len(STEPS))]
    width, second = places[-1] + WIDTH + 14, TOP + HEIGHT + 62
    parts = [
        f'<marker id="{c[1:]}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0L8 4L0 8z" fill="{c}"/></marker>'
        for c in (BLUE, GREEN)
    ]
    parts += [box(x, TOP, lines, BLUE) for x, lines in zip(places, STEPS, strict=True)]
    middle = TOP + HEIGHT // 2
    parts += [arrow(f"M{x + WIDTH} {middle}H{x + WIDTH + GAP - 2}", BLUE) for x in places[:-1]]
    first, last = places[0] + WIDTH // 2, places[-1] + WIDTH // 2
    parts.append(arrow(f"M{last} {TOP}V30Q{last} 22 {last - 8} 22H{first + 8}Q{first} 22 {first} 30V{TOP - 2}", BLUE))
    parts.append(
        f'<text x="{(first + last) // 2}" y="15" font-size="12" fill="{BLUE}">next step, nearer to the target</text>'
    )
    ends = [places[i] for i in (3, 4, 5)]
    parts += [box(x, second, lines, GREEN) for x, lines in zip(ends, END, strict=True)]
    parts += [arrow(f"M{x + WIDTH} {second + HEIGHT // 2}H{x + WIDTH + GAP - 2}", GREEN) for x in ends[:-1]]
    parts.append(arrow(f"M{ends[0] + WIDTH // 2} {TOP + HEIGHT}V{second - 2}", GREEN))
    height = second + HEIGHT + 14
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" text-anchor="middle" '
        'font-family="system-ui, sans-serif" role="img" aria-label="One prune-train cycle">'
        + "\n".join(parts)
        + "</svg>\n"
    )


if __name__ == "__main__":
    (Path(__file__).parents[1] / "docs" / "cycle.svg").write_text(drawing())
