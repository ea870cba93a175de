"""Formulas between single dollars, and money."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from arena.ui.arena_parts import LATEX
from arena.ui.markdown import GuardedTexts, safe_markdown
from arena.ui.markdown_dollars import LEFT, MARK, RIGHT
from tests.ui.test_markdown import NASTY, active

FORMULAS = [
    "n(n+1)", "2k", "x^2 + y^2 = z^2", r"\frac{a}{b}", "n", "5", "-1", "3.14", "1/2", "=",
    "O(n \\log n)", "abc + ab", "ABC", "60^\\circ", "0 \\le x < 1", "P(A | B) = 0.5", "|x|",
    r"\{1, 2\}", r"\$5 + \$6", r"2 \text{ apples and pears}", r"\text{速さ}", "1, 2, 3",
    r"17 \bmod 5", "2 sin x", "x_{max}", "f'", "12 \\times 3 = 36", "2^{10}",
    r"f(x) = \begin{cases} 1 & x > 0 \\ 0 & \text{otherwise} \end{cases}",
]  # fmt: skip
BEFORE = ["", " ", "整数", "(", "- ", "**", "costs $5, ", r"\$5 and ", "`$a` ", r"\(a\) ", "> "]
AFTER = ["", " ", "は", ".", ", ", ")", "**", "、", " `$b` `", " $5", r" \[b\]", "\n\n$"]
AMOUNTS = st.builds(
    "{}{}{}".format,
    st.sampled_from(["$", "US$", "A$", "-$", "**$", "~$", "($"]),
    st.sampled_from(["5", "10", "1,000", "3.50", ".99", "1990"]),
    st.sampled_from(["", "k", "M", " million", "/month", "**", "ドル", ")", " USD", "%"]),
)
JOINED = [
    " and ", "-", "–", " - ", ", ", " to ", "/", "〜", "、または", " or about ", ". Then ", "\n",
    "\n\n", " | ", " for a, and ", " (was ", " vs. ", ";", " → ",
]  # fmt: skip
POSTFIX = [
    "{} and the other 10$.",
    "{} now, get 7$ back",
    "{} or US$ 9",
    "5$, {}",
    "5$ or {}",
    "{}",
]


def shown(text: str) -> list[str]:
    """The formulas of a guarded text that had single dollars."""
    return re.findall(f"{re.escape(LEFT)}(.*?){re.escape(RIGHT)}", safe_markdown(text))


@given(st.sampled_from(BEFORE), st.sampled_from(FORMULAS), st.sampled_from(AFTER))
def test_formulas_are_formulas(before: str, formula: str, after: str) -> None:
    """What models write between single dollars is a formula, whatever stands around it."""
    assume(not (before[:1] == "`" and "[" in after))  # beside such a formula no code is trusted
    assert shown(f"{before}${formula}${after}") == [formula]


@given(
    st.lists(st.sampled_from(FORMULAS), min_size=1, max_size=6), st.sampled_from([" ", ", ", "と"])
)
def test_several_in_a_line(formulas: list[str], between: str) -> None:
    """Dollars are paired from the left."""
    assert shown(between.join(f"${formula}$" for formula in formulas)) == formulas


@given(st.lists(AMOUNTS, min_size=1, max_size=5), st.sampled_from(JOINED), st.sampled_from(POSTFIX))
def test_money_is_text(amounts: list[str], between: str, whole: str) -> None:
    """Prices, ranges and lists of them stay as they are."""
    text = whole.format(between.join(amounts))
    assert safe_markdown(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "$5 and $10", "$5-$10", "US$5 or US$ 10", "$20 million$", "(costs $5) or (6$)",
        "| $5 | 10$ |",
        "価格は$5です。$nは", "$HOME/$USER", "$foo=$bar;", "?$filter=a&$top=5", "$AAPL/$MSFT",
        "€$, $€",
        r"\$x\$", r"$x\$", "$ x$", "$x $", "$x$5", "$$", "$", "$a\n\nb$", "$a\nb$",
        "a $$$ b$", "$a$$b$",
        "$$a$$$b$",
        "${$ a", "$a}{b$", "$x if x is$", "$'$, $“$",
    ],
)  # fmt: skip
def test_not_a_formula(text: str) -> None:
    """Money, a shell's variables, escaped dollars, and what Pandoc does not take either."""
    assert safe_markdown(text) == text


def test_a_formula_beside_money() -> None:
    """A price before a formula does not begin it."""
    assert shown("costs $5, $n$ apples") == ["n"]
    assert shown("$5 + $n$ is $n+5$") == ["n", "n+5"]


@pytest.mark.parametrize(
    "code",
    [
        "`$x$`", "a `$x` and `$y`", "``$x$` y$``", "```\n$x$\n```", "~~~\n$x$\n~~~\n",
        "```\n$x$", "`$x$\n$y$`",
        "    $x$", "a\n\n    echo $a$b$", "\t$x$", ">     $x$",
        "1. a\n    ```php\n    $a$b\n    ```",
        "1. ~~~\n   $a$\n   ~~~", "\\` $x$", "- a\n\nb\n\n    $x$", "`$x$` <https://$a `b$>",
    ],
)  # fmt: skip
def test_code_is_untouched(code: str) -> None:
    """Dollars in code, and in what may be code, are those of a program."""
    assert shown(code) == []


def test_a_line_of_a_list_is_no_code() -> None:
    """An indented line of a list is its item's text, also behind its fences."""
    fence = "      ```sh\n      echo $a$\n      ```"
    text = f"1. a\n    - $x$\n\n{fence}\n\n      $y$\n    $z$\nb\n\n    $w$"
    assert shown(text) == ["x", "y", "z"]


def test_code_beside_a_formula_keeps_its_tags() -> None:
    """A formula between single dollars changes no code of its line."""
    text = "`vector<int>` has $n$ items, `list<b>` $k$"
    assert safe_markdown(text).replace(MARK, "") == text
    assert shown(text) == ["n", "k"]


@pytest.mark.parametrize("line", ["$x<y$", "$x&lt;y$"])
def test_less_than_is_a_command(line: str) -> None:
    """KaTeX would print an entity's letters."""
    assert shown(line) == [r"x\lt y"]


@given(NASTY, st.sampled_from(["$%s$", "a $%s$ b", "$x %s", "%s$", "$a_{%s}$"]))
def test_a_formula_carries_nothing_active(text: str, around: str) -> None:
    """No tag, image or backtick gets through a formula, and none ends early."""
    written = safe_markdown(around % text)
    assert active(written) == []
    for formula in re.findall(f"{re.escape(LEFT)}(.*?){re.escape(RIGHT)}", written, re.DOTALL):
        assert not re.search(r"<[A-Za-z/!?]|!\[|`|\n|(?<!\\)\$", formula)
    assert written.count(MARK) == written.count(LEFT) + written.count(RIGHT)


def test_the_mark_of_others_is_taken_away() -> None:
    """Nobody writes the browser's delimiter but the guard, in code neither."""
    assert (
        safe_markdown(f"{LEFT}5 and {RIGHT}\n```\n{LEFT}x{RIGHT}\n```") == "$5 and $\n```\n$x$\n```"
    )


@given(NASTY, NASTY)
def test_both_sides_are_read_alike(one: str, other: str) -> None:
    """Which side a text is on, and what the other's is, changes nothing."""
    texts, swapped = GuardedTexts(), GuardedTexts()
    assert [texts.safe(one, "a-0"), texts.safe(other, "b-0")] == [
        swapped.safe(one, "b-0"), swapped.safe(other, "a-0"),
    ]  # fmt: skip


def test_the_browser_knows_the_delimiters() -> None:
    """Marked dollars are inline formulas, and lone ones are nothing."""
    assert {"left": LEFT, "right": RIGHT, "display": False} in LATEX
    assert all(entry["left"] != "$" for entry in LATEX)
