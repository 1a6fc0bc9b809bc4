"""Write what files supply into Markdown, so that a notebook shows it as text: no tag, link, picture, mathematics or table comes of it."""

import re

# A character reference is text wherever Markdown looks for structure, in every dialect of it.
_BARE_LINK = r"@|:(?=//)|(?<=[wW]{3})\."  # many dialects see a link in an address alone
_STRUCTURE = re.compile(rf"[&<>\[\]\\`*$|~#]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|^[-+=]|{_BARE_LINK}")
# Without these nothing becomes a tag, a link or picture, or mathematics, whatever stands around them; headings, lists, tables, code remain.
_ACTIVE = re.compile(rf"[&<\[\\$]|{_BARE_LINK}")
_FENCE = re.compile(r"(`{3,}|~{3,})[^\n]*")  # with the language behind it: of some languages Jupyter makes drawings


def escaped(value: object) -> str:
    """Return a value as one line of Markdown that shows it as it is: in a sentence, a heading or the cell of a table."""
    return _STRUCTURE.sub(_reference, " ".join(str(value).split()))


def code(value: object) -> str:
    """Return a value as code inside a sentence, between more backticks than it has."""
    text = " ".join(str(value).split())
    if "`" not in text:
        return f"`{text}`" if text else ""
    ticks = "`" * (1 + max(map(len, re.findall("`+", text))))
    return f"{ticks} {text} {ticks}"


def code_block(value: object) -> str:
    """Return a value as a line of code, to stand between empty lines: a line break in it would end the block."""
    return f"    {' '.join(str(value).splitlines())}"


def safe_markdown(text: str) -> str:
    """Return the Markdown of others with every tag, link, picture and formula in it turned to plain text."""
    lines = "\n".join(text.splitlines(keepends=False)) + "\n" * text.endswith("\n")
    return _ACTIVE.sub(_reference, _FENCE.sub(r"\1", lines))


def _reference(found: re.Match) -> str:
    reference = f"&#{ord(found[0])};"
    # MathJax looks for formulas in the finished page, but not across the borders of an element.
    return f"<span>{reference}</span>" if found[0] in "\\$" else reference
