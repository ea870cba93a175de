"""The page, the public API, the health page and the terminal's tables; Gradio is used here alone.

page.py: the whole page: header, tabs, language, opening and closing; what `launch()` needs.
page_state.py: what the server remembers of one open page.
arena_parts.py: the components of the Arena tab, in their order.
arena_tab.py: what each of them does: send, stop, retry, vote.
view.py: panes, numbers and result line of a battle, computed from a snapshot.
unfinished.py: battles that wait for their vote.
verdict_words.py: whether a vote counts, in words.
resume.py: the battle that a page which opens has back.
shown.py: what the page's script knows of it.
feedback.py, feedback_view.py: guess, reasons, grades and comment of a voter.
presets_view.py: the examples, and what to look for when judging.
status_view.py: chips, banner, notices, the account's link.
models_tab.py, model_cards.py, owner_cards.py: the Models tab, its cards, and the owner's part.
cards.py, memory_view.py, terms.py: their rows, the KV cache's picture, and explained terms.
owner.py: who runs the arena, and so sees costs, remedies and counters.
leaderboard_tab.py: the Leaderboard tab and its filters.
leaderboard_view.py, leaderboard_words.py: its tables and sentences.
plots.py: its pictures.
export_part.py: votes to download.
erasure_part.py: “Delete my texts”.
api.py: the functions that programs may call.
health.py: the health page.
surface.py: which requests the web server takes, and the headers of its answers.
terminal.py: the leaderboard, and what the doctor found, in a terminal.
components.py: what all tabs share: updates as dicts, hidden listeners, HTML parts.
listeners.py: what a listener that fails leaves behind.
translator.py: components whose texts follow the page's language.
i18n.py, texts/: the texts in Japanese and English.
markdown.py: makes a model's Markdown harmless, piece by piece as it grows.
markdown_blocks.py, markdown_prose.py: which of its lines are code; formulas and all else.
markdown_dollars.py: which single dollars are a formula, and which are money.
scripts/*.js, styles/*.css: the page's scripts, which run in the order of their names, and styles.
favicon.svg: its picture in a browser's tab.
"""
