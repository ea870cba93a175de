// The tabs of the page.
(() => {
  // Called by Gradio when one of our HTML parts is loaded; `trigger` sends an event to the server.
  // Gradio"s own tabs leave the parts of a hidden tab out of the document until it is first shown.
  // The server fills a tab in the page's language, which it knows when the page is open.
  let pageIsOpen;
  const pageOpened = new Promise((resolve) => { pageIsOpen = resolve; });
  window.arenaPageIsOpen = () => pageIsOpen();
  window.arenaTabs = (element, trigger, watch) => {
    // Gradio's columns have no roles.
    const tabs = () => [...element.querySelectorAll("[role=tab]")];
    const begin = new MutationObserver(() => {
      const panels = tabs().map((tab) => document.getElementById(tab.getAttribute("aria-controls")));
      if (!panels.every(Boolean)) return;
      begin.disconnect();
      panels.forEach((panel, index) => {
        panel.setAttribute("role", "tabpanel");
        panel.setAttribute("aria-labelledby", tabs()[index].id);
        panel.tabIndex = -1;
      });
    });
    begin.observe(document, { childList: true, subtree: true });
    const show = (name) => {
      document.body.dataset.tab = name;
      tabs().forEach((tab) => {
        tab.setAttribute("aria-selected", tab.dataset.tab === name);
        tab.tabIndex = tab.dataset.tab === name ? 0 : -1;
      });
    };
    const open = (name) => {
      show(name);
      pageOpened.then(() => trigger("select", {tab: name}));
    };
    const addressed = () => {
      const name = new URLSearchParams(location.search).get("tab");
      return element.querySelector(`#tab-${CSS.escape(name || "")}`) ? name : "arena";
    };
    element.addEventListener("click", (event) => {
      const name = event.target.closest("[role=tab]")?.dataset.tab;
      if (!name) return;
      if (name !== addressed()) {
        const address = new URL(location.href);
        if (name === "arena") address.searchParams.delete("tab");
        else address.searchParams.set("tab", name);
        history.pushState(history.state, "", address);
      }
      open(name);
    });
    window.addEventListener("popstate", () => open(addressed()));
    element.addEventListener("keydown", (event) => {
      const step = {ArrowRight: 1, ArrowLeft: -1}[event.key];
      if (!step) return;
      const all = tabs();
      const next = all[(all.indexOf(document.activeElement) + step + all.length) % all.length];
      next.focus();
      next.click();
    });
    watch("value", () => show(document.body.dataset.tab || "arena"));
    if (addressed() === "arena") show("arena");
    else open(addressed());
  };
})();
