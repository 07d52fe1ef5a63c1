"""Format numbers and tables for a terminal and for Markdown."""

from collections.abc import Sequence


def format_score(value: float | None, digits: int = 4) -> str:
    """Format a score, or a dash where there is none."""
    return '-' if value is None else f'{value:.{digits}f}'


def format_table(rows: Sequence[Sequence[object]]) -> str:
    """Align columns, the first on the left and the others on the right."""
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts)]
    return '\n'.join(
        '  '.join(
            [row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:]))]
        )
        for row in texts
    )


def format_markdown(rows: Sequence[Sequence[object]]) -> str:
    """Write a Markdown table; the first row is its header, numbers are on the right."""
    header, *body = [[str(cell).replace('|', '\\|') for cell in row] for row in rows]
    lines = [header, ['---', *['---:'] * (len(header) - 1)], *body]
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)
