(() => {
  const read = (key) => { try { return localStorage.getItem(key) || ""; } catch { return ""; } };
  const write = (key, value) => { try { localStorage.setItem(key, value); } catch { /* private window */ } };

  const visitor = () => {
    let id = read("arena-visitor");
    if (!/^[0-9a-f]{32}$/.test(id)) {
      id = Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
      write("arena-visitor", id);
    }
    return id;
  };
  const wanted = () => new URLSearchParams(location.search).get("lang") || read("arena-language");

  // What the server may know of this browser when the page opens.
  window.arenaClient = () => ({
    visitor: visitor(),
    language: wanted(),
    accepts: navigator.language || "",
    battle: new URLSearchParams(location.search).get("battle") || "",
  });
  // The server has put the page into this language; a choice is kept, a guess is not.
  window.arenaSpeaks = (language, chosen) => {
    document.documentElement.lang = language;
    if (chosen) write("arena-language", language);
  };
  const box = () => document.querySelector("#prompt textarea");
  window.arenaFocusPrompt = () => {
    // On a phone the keyboard would cover the page.
    if (matchMedia("(min-width: 701px)").matches) box()?.focus();
  };

  const typing = (el) => el && (el.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(el.tagName));
  const votes = { 1: "vote-a", 2: "vote-tie", 3: "vote-bad", 4: "vote-b" };

  window.addEventListener("keydown", (event) => {
    // The Enter that confirms a Japanese conversion must not send.
    if (event.key === "Enter" && (event.isComposing || event.keyCode === 229)) {
      event.stopImmediatePropagation();
      return;
    }
    if (event.key === "Escape") {
      document.querySelectorAll("details.all[open]").forEach((fold) => { fold.open = false; });
      if (typing(event.target)) event.target.blur();
      return;
    }
    if (event.target === box() && event.key === "Enter" && !event.shiftKey) {
      // The question is on its way: from here on the vote keys must work.
      setTimeout(() => box()?.blur(), 50);
    }
    if (typing(event.target) || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (votes[event.key]) {
      const button = document.getElementById(votes[event.key]);
      if (button && !button.disabled) button.click();
    } else if (event.key === "/") {
      event.preventDefault();
      box()?.focus();
    }
  }, true);

  document.addEventListener("click", (event) => {
    document.querySelectorAll("details.all[open]").forEach((fold) => {
      if (!fold.contains(event.target)) fold.open = false;
    });
  });

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
