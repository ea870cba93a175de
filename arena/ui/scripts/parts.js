// What our HTML parts send to the server when they are clicked.
(() => {
  window.arenaPresets = (element, trigger) => {
    element.addEventListener("click", (event) => {
      const button = event.target.closest("[data-preset]");
      if (!button) return;
      const fold = element.querySelector("details");
      if (fold) window.arenaShut(fold);
      trigger("select", {preset: button.dataset.preset});
    });
  };
  window.arenaModels = (element, trigger, watch) => {
    element.addEventListener("click", (event) => {
      const button = event.target.closest("button[data-slug]");
      if (!button) return;
      button.disabled = true;
      trigger("select", {slug: button.dataset.slug});
    });
    // The cards are made anew when something on them changes: what was unfolded stays so, and the
    // focus stays where it was.
    const unfolded = new Set();
    let focused = "";
    element.addEventListener("toggle", (event) => {
      const { open, dataset } = event.target;
      if (open) unfolded.add(dataset.fold);
      else unfolded.delete(dataset.fold);
    }, true);
    document.addEventListener("focusin", (event) => {
      focused = element.contains(event.target) ? event.target.id : "";
    });
    watch("value", () => {
      element.querySelectorAll("details").forEach((fold) => {
        fold.open = unfolded.has(fold.dataset.fold);
      });
      if (focused && document.activeElement === document.body) {
        document.getElementById(focused)?.focus({preventScroll: true});
      }
    });
  };
  // A picture that was drawn while it was folded has no width; plotly looks at it when the window
  // changes its size.
  document.addEventListener("toggle", (event) => {
    if (event.target.id === "lb-more") window.dispatchEvent(new Event("resize"));
  }, true);
  document.addEventListener("click", (event) => {
    // Safari gives a button no focus when it is pressed.
    event.target.closest(".term > button")?.focus();
    const link = event.target.closest("[data-go]");
    if (link) document.getElementById(`tab-${link.dataset.go}`).click();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") document.activeElement.closest(".term > button")?.blur();
  });
  window.arenaFeedback = (element, trigger) => {
    const send = (kind, value) => trigger("select", {kind, value});
    element.addEventListener("click", (event) => {
      const button = event.target.closest("button[data-kind]");
      if (!button) return;
      const comment = button.dataset.kind === "comment";
      send(button.dataset.kind, comment ? element.querySelector("input").value : button.dataset.value);
    });
    element.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.isComposing && event.target.tagName === "INPUT") {
        send("comment", event.target.value);
      }
    });
  };
})();
