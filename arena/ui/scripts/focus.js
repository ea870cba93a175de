// The focus is never lost: where its element goes, the one that the reader needs next takes it.
(() => {
  const usable = (el) => Boolean(
    el?.isConnected && !el.disabled && el.checkVisibility({ visibilityProperty: true }) && el.getClientRects().length,
  );
  const first = (...selectors) => selectors.map((one) => document.querySelector(one)).find(usable);
  // The shown tab: from there the keys vote, and the next Tab goes into it.
  const panel = () => document.getElementById(`panel-${document.body.dataset.tab || "arena"}`);
  const laptop = () => matchMedia("(min-width: 701px)").matches;
  window.arenaRest = () => panel()?.focus({ preventScroll: true });

  // What takes the place of an element, by where that was and by the state of the battle. Written
  // down while it has the focus: what the server has replaced by then knows no place any more.
  const named = (el) => el.closest('[id]:not([id=""])');  // Gradio writes empty ids as well
  const field = (el) => {
    const near = el.matches("input, textarea") ? named(el) : null;
    if (!near) return [];
    return [near === el ? `#${CSS.escape(el.id)}` : `#${CSS.escape(near.id)} ${el.localName}`];
  };
  const openerOf = (fold) => {
    const near = fold && named(fold);
    return near ? [`#${CSS.escape(near.id)} summary`] : [];
  };
  const place = (el) => {
    return {
      el,
      // Gradio makes a box anew when the server changes it.
      same: field(el),
      opener: openerOf(el.closest("details")),
      part: ["#erasure", "#settings", ".header, #tools", "#stage"].find((one) => el.closest(one)),
    };
  };
  const heirs = (part) => {
    if (part === "#erasure") return ["#erase-ask"];
    if (part === "#settings") return ["#settings > button", "#menu"];
    if (part === ".header, #tools") return ["#menu"];
    if (part !== "#stage") return [];
    if (first("#stage.s-idle")) return laptop() ? ["#prompt textarea"] : [];
    // Not a button of it: the Enter that voted, held or pressed twice, would press that one too.
    return first("#stage:is(.s-vote, .s-revealed)") ? ["#dock"] : [];
  };
  let last = null;
  document.addEventListener("focusin", (event) => { last = place(event.target); });
  const look = () => {
    const now = document.activeElement;
    if (!last || usable(now === document.body ? last.el : now)) return;
    const { same, opener, part } = last;
    last = null;
    (first(...same, ...opener, ...heirs(part)) || panel())?.focus({ preventScroll: true });
  };
  let due = 0;
  const changed = new MutationObserver(() => {
    cancelAnimationFrame(due);
    due = requestAnimationFrame(look);
  });
  const seen = ["class", "disabled", "open", "style", "data-tab", "data-menu"];
  const begin = () => changed.observe(document.body, { attributes: true, attributeFilter: seen, childList: true, subtree: true });
  if (document.body) begin();
  else document.addEventListener("DOMContentLoaded", begin);

  document.addEventListener("click", (event) => {
    if (!event.target.closest("a.skip")) return;
    event.preventDefault();  // the address stays the battle's
    document.getElementById("tab-arena").click();
    document.querySelector("#prompt textarea").focus();
  });
})();
