"""What of an answer's Markdown reaches a browser."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from arena.ui.markdown import OPEN_FORMULAS, safe_markdown
from arena.ui.markdown_dollars import MARK

PARSER = MarkdownIt("commonmark", {"html": True}).enable("table")
NASTY = st.lists(
    st.sampled_from(
        [
            "![a](https://tracker.example/x.png)", "![a][ref]", "[ref]: https://t.example/x.png",
            "<img src=x onerror=alert(1)>", "<script>x</script>", "</div>", "<!-- c -->", "<a", ">",
            "```", "~~~", "``", "`", "    ", "- ", "> ", "\n", "\n\n", "text", "1 < 2", "a<b",
            "$$", r"\(", r"\)", r"\[", r"\]", "\\", "!", "[", "]", "<https://x.example>", "日本語",
            "\n```\n", "\n  ```\n", "\n- ```\n", "\n1. ```\n", "\n> ```\n", "\n~~~ a\n",
            "\n    ```\n",
            "\n~~~~\n", "\n- a\n", "\n  b\n", "\r", "\r\n", "|", "\n|a|b|\n|-|-|\n", "`a", "``b",
            "\\`", "* ", "\t", "\n<b>x</b>\n", "<b>",
            "$", "$n$", "$5", "\\$", "$a", "<b$", " ", MARK, "&lt;", "\n1. a\n", "\n    $a$\n",
        ]
    ),
    max_size=24,
).map("".join)  # fmt: skip


def active(text: str) -> list[str]:
    """Images and raw HTML that a CommonMark parser finds."""
    found = []
    for token in PARSER.parse(text):
        found += [token.type] if token.type == "html_block" else []
        found += [c.type for c in token.children or [] if c.type in {"image", "html_inline"}]
    return found


@pytest.mark.parametrize(
    "text",
    [
        "![](https://t.example/x.png)",
        "see ![alt][1]\n\n[1]: https://t.example/x.png",
        "<img src='https://t.example/x.png'>",
        "a <b>bold</b> word",
        "<!-- hidden -->",
        "<style>body{display:none}</style>",
        "`a\n\n<img src=x>`",
        "\\`<img src=x>`",
        "| a | b |\n|---|---|\n| `a | <img src=x>` |",
        r"\(![x](https://t.example/x.png)\)",
        # Where two readings of the text differ on what is code:
        "- ```\n  ```\n<img src=x>",
        "- a\n\n      ```\n  ```\n<b>x</b>",
        "```\nx\r```\r<img src=x>\n",
        r"\\`a`<b>`",
        r"\``a`<b>`",
        "`a|b` <b> `",
        "`a\nb` <b> `",
        r"\(`\)`<b>`",
    ],
)
def test_images_and_html_are_shown_not_run(text: str) -> None:
    """Images and HTML of an answer are shown as the text they are."""
    assert active(text)
    assert active(safe_markdown(text)) == []


def test_code_is_untouched() -> None:
    """Code stays as it was written."""
    text = '```html\n<img src="x.png"> ![a](b)\n```\nand `<b>` in a line'
    assert safe_markdown(text) == text


def test_drawings_stay_text() -> None:
    """A browser would run a block of mermaid; with a space before the word it shows its text."""
    assert safe_markdown("```mermaid\ngraph\n```") == "``` mermaid\ngraph\n```"
    assert safe_markdown("- ```mermaid\n  graph\n  ```").startswith("- ``` mermaid\n")
    assert safe_markdown("1. ```mermaid\ngraph") == "1. ``` mermaid\ngraph"
    quoted = "````\n```mermaid\n````"
    assert safe_markdown(quoted) == quoted


def test_code_in_a_list_is_untouched() -> None:
    """A fence in a list item is code up to its end."""
    text = "1. look:\n   ```c\n   #include <stdio.h>\n   ```\n2. `<b>`\n\n- ```\n  <b>\n  ```\nend"
    assert safe_markdown(text) == text


def test_open_fence_while_streaming_is_code() -> None:
    """A fence that is still open runs to the end of the text."""
    text = "look:\n```python\nif a<b: print('![x](y)')"
    assert safe_markdown(text) == text


def test_formulas_survive() -> None:
    """Formulas keep their form; `<` in them becomes a command, not an entity."""
    assert safe_markdown(r"\(a<b\) and $$x<y$$") == r"\(a\lt b\) and $$x\lt y$$"
    assert r"\[" not in safe_markdown("![x](y)")


def test_plain_comparison_survives() -> None:
    """`1 < 2` is no tag."""
    assert safe_markdown("1 < 2 and 3 > 2") == "1 < 2 and 3 > 2"


@given(NASTY)
def test_nothing_active_is_left(text: str) -> None:
    """No tag, image or autolink is left outside of code."""
    assert active(safe_markdown(text)) == []


@given(NASTY)
def test_twice_is_once(text: str) -> None:
    """Applying it to its own result changes nothing."""
    once = safe_markdown(text)
    assert safe_markdown(once) == once


@given(st.text(alphabet=st.characters(exclude_characters=f"<!${MARK}")))
def test_harmless_text_is_unchanged(text: str) -> None:
    """Text without `<`, `!` and dollars is unchanged, up to line ends."""
    assert safe_markdown(text) == text.replace("\r\n", "\n").replace("\r", "\n")


@pytest.mark.parametrize("bracket", ["(", "["])
def test_many_formulas_that_never_end_are_text(bracket: str) -> None:
    """The browser would look for the end of each, and stand still."""
    opened, closed = f"\\{bracket}", {"(": "\\)", "[": "\\]"}[bracket]
    many = closed * 100 + opened * (OPEN_FORMULAS + 1)
    assert opened not in safe_markdown(many)
    assert safe_markdown(safe_markdown(many)) == safe_markdown(many)
    few = f"{opened}x{closed} " * 100 + opened * OPEN_FORMULAS
    assert safe_markdown(few) == few
