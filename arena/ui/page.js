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
})();
