"""Pieces of Markdown: tables, lists, numbers with their nouns or their scatter."""

import statistics
from collections.abc import Sequence


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; a column is set to the right if everything below its head begins with a digit,
    a sign or nothing."""
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(header)
    rules = ["--:" if rows and all(map(_is_number, column)) else "---" for column in columns]
    lines = [header, rules, *([_cell(each) for each in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def bullets(sentences: Sequence[str]) -> str:
    """A list, without what is empty."""
    return "\n".join(f"- {each}" for each in sentences if each)


def count(number: int, thing: str) -> str:
    """The number with its noun, which takes an s."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def capital(text: str) -> str:
    """The text as the beginning of a sentence."""
    return text[:1].upper() + text[1:]


def mean_sd(values: Sequence[float]) -> str:
    """Mean ± standard deviation; the mean alone of a single value."""
    sd = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2f}{sd}"


def _is_number(text: str) -> bool:
    return not text or text[0].isdigit() or text[0] in "-+±~" or text.startswith("**")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
