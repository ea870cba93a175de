// The tabs of the page.
(() => {
  // Called by Gradio when one of our HTML parts is loaded; `trigger` sends an event to the server.
  // Gradio"s own tabs leave the parts of a hidden tab out of the document until it is first shown.
  window.arenaTabs = (element, trigger, watch) => {
    const show = (name) => {
      document.body.dataset.tab = name;
      element.querySelectorAll("[role=tab]").forEach((tab) => {
        tab.setAttribute("aria-selected", tab.dataset.tab === name);
        tab.tabIndex = tab.dataset.tab === name ? 0 : -1;
      });
    };
    element.addEventListener("click", (event) => {
      const tab = event.target.closest("[role=tab]");
      if (!tab) return;
      show(tab.dataset.tab);
      trigger("select", {tab: tab.dataset.tab});
    });
    element.addEventListener("keydown", (event) => {
      const step = {ArrowRight: 1, ArrowLeft: -1}[event.key];
      if (!step) return;
      const tabs = [...element.querySelectorAll("[role=tab]")];
      const next = tabs[(tabs.indexOf(document.activeElement) + step + tabs.length) % tabs.length];
      next.focus();
      next.click();
    });
    watch("value", () => show(document.body.dataset.tab || "arena"));
    show("arena");
  };
})();
