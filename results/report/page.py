"""The report as one HTML file that needs nothing else: the same Markdown, its pictures within.

Text comes from studies, and names in them from anyone: HTML in it is shown as text, and links and
pictures from elsewhere are not made.
"""

import base64
import html
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from results.report.report import Report
from results.report.style import STYLE

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="nas-search">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
{top}
<nav aria-label="Contents">
<details>
<summary>Contents</summary>
{contents}
</details>
</nav>
{rest}
</main>
</body>
</html>
"""

CONTENTS = 3
"""Headings up to this level are in the table of contents."""


def page(report: Report) -> str:
    """The HTML file's text."""
    reader = _reader(report)
    tokens = reader.parse(report.markdown)
    headings = _name_headings(tokens)
    _mark_numbers(tokens)
    # The contents stand behind the answer, in front of the first section.
    start = next(place for place, each in enumerate(tokens) if _is_heading(each, "h2"))
    top, rest = tokens[:start], tokens[start:]
    return PAGE.format(
        title=html.escape(report.title),
        style=STYLE,
        top=reader.renderer.render(top, reader.options, {}),
        contents=_contents(headings),
        rest=reader.renderer.render(rest, reader.options, {}),
    )


def _reader(report: Report) -> "MarkdownIt":
    from markdown_it import MarkdownIt

    reader = MarkdownIt("commonmark", {"html": False}).enable("table").disable(["link", "autolink"])

    def image(_: Any, tokens: "Sequence[Token]", place: int, *__: Any) -> str:
        address, alternative = str(tokens[place].attrs["src"]), html.escape(tokens[place].content)
        picture = report.pictures.get(address)
        if picture is None:
            return alternative
        content = base64.b64encode(picture.embedded).decode()
        return f'<img src="data:{picture.media_type};base64,{content}" alt="{alternative}">'

    reader.add_render_rule("image", image)
    # A table wider than the screen is scrolled alone, also by keyboard.
    opening, closing = '<div class="table" tabindex="0">\n<table>\n', "</table>\n</div>\n"
    reader.add_render_rule("table_open", lambda *_: opening)
    reader.add_render_rule("table_close", lambda *_: closing)
    return reader


def _is_heading(token: "Token", tag: str) -> bool:
    return token.type == "heading_open" and token.tag == tag


def _name_headings(tokens: "Sequence[Token]") -> list[tuple[int, str, str]]:
    """Gives every heading below the title an id; level, id and text of those in the contents."""
    found: list[tuple[int, str, str]] = []
    taken: set[str] = set()
    for token, content in pairwise(tokens):
        level = int(token.tag[1]) if token.type == "heading_open" else 0
        if level > 1:
            plain = re.sub(r"[^a-z0-9]+", "-", content.content.lower()).strip("-") or "part"
            name, number = plain, 1
            while name in taken:
                number += 1
                name = f"{plain}-{number}"
            taken.add(name)
            token.attrSet("id", name)
            if level <= CONTENTS:
                found.append((level, name, content.content))
    return found


def _mark_numbers(tokens: "Sequence[Token]") -> None:
    """Says by class, and not by style, which cells are set to the right."""
    for token in tokens:
        if token.type in ("th_open", "td_open") and "right" in str(token.attrs.pop("style", "")):
            token.attrSet("class", "number")


def _contents(headings: Sequence[tuple[int, str, str]]) -> str:
    lines, depth = [], 1
    for level, name, text in headings:
        if level > depth:
            lines.append("<ul>")
        elif lines:
            lines.append("</li>" + "</ul>\n</li>" * (depth - level))
        lines.append(f'<li><a href="#{name}">{html.escape(text)}</a>')
        depth = level
    lines.append("</li></ul>" * (depth - 1))
    return "\n".join(lines)
