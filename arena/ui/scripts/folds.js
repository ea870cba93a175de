// What opens over the page closes by its summary, by Escape and by a click elsewhere, and by nothing else.
(() => {
  const SHEETS = "details:has(> .sheet)";
  // A part that the server writes anew keeps its elements, but loses what was not written: `open`.
  const kept = new WeakSet();
  const shut = (fold) => {
    kept.delete(fold);
    fold.open = false;
  };
  new MutationObserver((changes) => changes.forEach(({ target }) => {
    if (kept.has(target) && !target.open) target.open = true;
  })).observe(document, { attributes: true, attributeFilter: ["open"], subtree: true });
  window.arenaShut = shut;

  // Escape closes what is open and leaves the focus at what opened it; says whether there was any.
  window.arenaEscape = () => {
    const folds = [...document.querySelectorAll(`${SHEETS}[open]`)];
    folds.forEach(shut);
    const settings = document.querySelector("#settings > button.open");
    settings?.click();
    const opener = settings || folds[0]?.querySelector("summary");
    opener?.focus();
    return Boolean(opener);
  };
  document.addEventListener("click", (event) => {
    const summary = event.target.closest("summary");
    if (summary?.parentElement.matches(SHEETS)) {  // what the click does comes after this
      if (summary.parentElement.open) kept.delete(summary.parentElement);
      else kept.add(summary.parentElement);
    }
    document.querySelectorAll(`${SHEETS}[open]`).forEach((fold) => {
      if (!fold.contains(event.target)) shut(fold);
    });
  });
})();
