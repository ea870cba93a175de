"""What axe and a thumb find on the page."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import axe_playwright_python
from playwright.sync_api import Page

# Rules are asked about what is on the page now: nothing is fetched, and only faults come back.
# The page has seen its own size by the second frame.
RUN = """async () => {
  await new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)));
  const found = await axe.run(document, { preload: false, resultTypes: ["violations"] });
  return found.violations;
}"""
GRAVE = ("serious", "critical")
TARGET_PX = 44
# How far around the middle of each control a touch still reaches it, from edge to edge.
SMALL = """(least) => {
  const wanted = "button, a[href], summary, input:not([type=hidden]), textarea, select";
  const reaches = (target, x, y) => {
    const hit = document.elementFromPoint(x, y);
    return hit && (target.contains(hit) || hit.closest("label") === target);
  };
  const reach = (target, x, y, dx, dy) => {
    let far = 0;
    while (far < least && reaches(target, x + dx * far, y + dy * far)) far += 1;
    return far;
  };
  const small = [];
  const sheet = document.querySelector("details[open] > .sheet, #settings > button.open + div");
  for (const control of (sheet ?? document).querySelectorAll(wanted)) {
    if (control.disabled || !control.checkVisibility({ visibilityProperty: true })) continue;
    const target = control.closest("label") ?? control;
    target.scrollIntoView({ block: "nearest" });
    const { x, y, width, height } = target.getBoundingClientRect();
    const middle = [x + width / 2, y + height / 2];
    if (!width || !reaches(target, ...middle)) continue;  // behind a sheet, or out of sight
    const wide = reach(target, ...middle, 1, 0) + reach(target, ...middle, -1, 0) - 1;
    const high = reach(target, ...middle, 0, 1) + reach(target, ...middle, 0, -1) - 1;
    if (Math.min(wide, high) < least - 1) {
      const name = control.id || control.getAttribute("aria-label") || target.textContent.trim();
      small.push(`${name || control.className} ${wide}x${high}`);
    }
  }
  return small;
}"""


@cache
def _script() -> str:
    return (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text("utf-8")


def grave_faults(page: Page) -> list[str]:
    """What axe calls serious or critical, each with its element."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(_script())
    return [
        f"{found['id']} {node['target']}: {node['failureSummary']}"
        for found in page.evaluate(RUN)
        if found["impact"] in GRAVE
        for node in found["nodes"]
    ]


def small_targets(page: Page) -> list[str]:
    """Controls that a thumb misses: less than 44 px high or wide."""
    return [str(found) for found in page.evaluate(SMALL, TARGET_PX)]
