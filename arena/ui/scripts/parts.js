// What our HTML parts send to the server when they are clicked.
(() => {
  window.arenaPresets = (element, trigger) => {
    element.addEventListener("click", (event) => {
      const button = event.target.closest("[data-preset]");
      if (!button) return;
      const fold = element.querySelector("details");
      if (fold) fold.open = false;
      trigger("select", {preset: button.dataset.preset});
    });
  };
  window.arenaModels = (element, trigger) => {
    element.addEventListener("click", (event) => {
      const button = event.target.closest("button[data-slug]");
      if (!button) return;
      button.disabled = true;
      trigger("select", {slug: button.dataset.slug});
    });
  };
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
