// Nothing is lost by a reload or a cut of the network: the draft, the battle, a vote.
(() => {
  const { browser, tab } = window.arenaKeep;
  const box = () => document.querySelector("#prompt textarea");
  const told = () => document.querySelector("#shown [data-shown]")?.dataset || {};

  // --- what this tab shows -----------------------------------------------------------------------

  // The storage of a duplicated tab is a copy of the one of a tab that is still open: it begins empty.
  const copied = tab.read("open");
  if (copied) {
    tab.write("shown", "");
    tab.write("draft", "");
  }
  tab.write("open", "1");
  let leaving = false;
  addEventListener("beforeunload", () => {
    leaving = true;
    setTimeout(() => { leaving = false; }, 3000);  // it was a download, or the visitor stayed
  });
  addEventListener("pagehide", () => {
    leaving = true;
    tab.write("open", "");
    const field = box();
    tab.write("caret", field && field === document.activeElement ? `${field.selectionStart},${field.selectionEnd}` : "");
  });
  // The server has seen this page go.
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });

  window.arenaShows = () => {
    const shown = copied ? null : tab.read("shown");
    return { draft: draft(), ...(shown === null ? {} : { shown }) };
  };
  let opened = false;
  // The server says by a handle which battle is shown; called when the part is loaded.
  window.arenaShown = (element, watch) => watch("value", () => setTimeout(settle));
  window.arenaOpened = (language) => {
    window.arenaSpeaks(language, false);
    opened = true;
    window.arenaPageIsOpen();
    settle();
    const name = tab.read("tab");
    if (name && name !== "arena") document.getElementById(`tab-${name}`)?.click();
  };
  const settle = () => {
    if (!opened) return;
    const { shown = "", voted } = told();
    tab.write("shown", shown);
    const vote = kept();
    if (!vote || vote.shown !== shown) return;
    if (voted) browser.write("vote", "");
    else if (!blocked()) replay();
  };
  document.addEventListener("click", (event) => {
    const chosen = event.target.closest?.("[role=tab][data-tab]");
    if (chosen) tab.write("tab", chosen.dataset.tab);
  });

  // --- the draft ---------------------------------------------------------------------------------

  const draft = () => tab.read("draft") ?? browser.read("draft") ?? "";
  let filled = false;
  const keep = (text) => {
    if (!filled) return;
    tab.write("draft", text);
    browser.write("draft", text);
  };
  const fill = () => {
    const field = box();
    if (!field) { setTimeout(fill, 20); return; }
    const text = draft();
    filled = true;
    if (text && !field.value) {
      field.value = text;
      field.dispatchEvent(new Event("input", { bubbles: true }));
    }
    const [start, end] = (tab.read("caret") || "").split(",");
    if (!end) return;
    field.focus();
    field.setSelectionRange(Number(start), Number(end));
  };
  let typedAt = 0;
  let composing = false;
  addEventListener("input", (event) => {
    typedAt = Date.now();
    if (event.target === box()) keep(event.target.value);
  }, true);
  addEventListener("compositionstart", () => { composing = true; }, true);
  addEventListener("compositionend", () => { composing = false; }, true);
  const changed = window.arenaPrompt;
  window.arenaPrompt = (text) => {
    changed(text);
    keep(box()?.value ?? text);
  };
  fill();

  // --- a vote ------------------------------------------------------------------------------------

  // Kept from the click until the server has said that it has it, also while there is no network.
  const DAY = 24 * 3600 * 1000;
  const kept = () => {
    try {
      const vote = JSON.parse(browser.read("vote") || "null");
      return vote && Date.now() - vote.at < DAY ? vote : null;
    } catch { return null; }
  };
  let replaying = false;
  const replay = () => {
    if (replaying) return;
    replaying = true;
    let left = 100;
    const look = () => {
      const vote = kept();
      const button = vote && document.getElementById(vote.button);
      const same = vote && vote.shown === told().shown && !told().voted && !blocked();
      if (same && button && !button.disabled) button.click();
      else if (same && left--) { setTimeout(look, 100); return; }
      replaying = false;
    };
    look();
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("#vote-a, #vote-b, #vote-tie, #vote-bad");
    if (event.target.closest?.("#undo, #new-battle")) browser.write("vote", "");
    if (button && !button.disabled) {
      browser.write("vote", JSON.stringify({ shown: told().shown || "", button: button.id, at: Date.now() }));
    }
    if (!blocked() || !event.target.closest?.("#panel-arena button")) return;
    event.preventDefault();  // nothing would come of it but Gradio's own complaint
    event.stopImmediatePropagation();
    say(button ? "vote" : "lost");
  }, true);
  addEventListener("keydown", (event) => {
    if (blocked() && event.key === "Enter" && !event.shiftKey && !event.isComposing && event.target === box()) {
      event.preventDefault();
      event.stopImmediatePropagation();
    }
  }, true);

  // --- the connection ----------------------------------------------------------------------------

  // Gradio's client does not open its streams again: when one was cut, the document is loaded anew.
  const STALE_MS = 35000;  // the heartbeat comes every 15 s
  const QUIET_MS = 700;
  let cut = false;
  let offline = false;
  let beatAt = 0;
  let health = "";
  const blocked = () => cut || offline;

  const strip = document.createElement("div");
  strip.id = "cut";
  strip.setAttribute("role", "status");
  const say = (key) => {
    const vote = kept();
    const words = told();
    strip.textContent = words[vote && vote.shown === words.shown && !words.voted ? "vote" : key] || "";
    if (!strip.isConnected && document.body) document.body.append(strip);
    document.body?.toggleAttribute("data-cut", true);
  };
  const hide = () => {
    strip.remove();
    document.body.removeAttribute("data-cut");
    settle();
  };

  const real = window.fetch.bind(window);
  let probing = null;
  const probe = async (wait = 250) => {
    clearTimeout(probing);
    try {
      const reply = await real(health || "health", { cache: "no-store", signal: AbortSignal.timeout(3000) });
      if (reply.ok) { back(); return; }
    } catch { /* not yet */ }
    clearTimeout(probing);
    probing = setTimeout(probe, wait, Math.min(1.5 * wait, 1000));
  };
  const back = () => {
    if (composing || Date.now() - typedAt < QUIET_MS) setTimeout(back, 100);
    else if (!leaving) location.reload();
  };
  const lost = () => {
    if (leaving || cut) return;
    cut = true;
    say("lost");
    probe();
  };

  const watched = (reply, endless) => {
    const reader = reply.body.getReader();
    const body = new ReadableStream({
      async pull(controller) {
        try {
          const { done, value } = await reader.read();
          if (done) {
            if (endless) lost();
            controller.close();
          } else {
            if (endless) beatAt = Date.now();
            controller.enqueue(value);
          }
        } catch (error) {
          if (error.name !== "AbortError") lost();
          controller.error(error);
        }
      },
      cancel: (reason) => reader.cancel(reason),
    });
    return new Response(body, { status: reply.status, statusText: reply.statusText, headers: reply.headers });
  };
  window.fetch = async (input, init) => {
    const url = new URL(input instanceof Request ? input.url : input, location.href);
    const at = url.pathname.indexOf("/gradio_api/");
    if (url.origin !== location.origin || at < 0) return real(input, init);
    health = `${url.origin}${url.pathname.slice(0, at)}/health`;
    let reply;
    try {
      reply = await real(input, init);
    } catch (error) {
      if (error.name !== "AbortError") lost();
      throw error;
    }
    if (reply.status >= 502 && reply.status <= 504) lost();  // a proxy whose server is away
    const endless = url.pathname.includes("/heartbeat/");
    return reply.ok && reply.body && (endless || url.pathname.endsWith("/queue/data")) ? watched(reply, endless) : reply;
  };

  addEventListener("offline", () => { offline = true; say("lost"); });
  addEventListener("online", () => {
    offline = false;
    if (cut) probe();
    else hide();
  });
  // After a sleep, or where a network is gone without a word, the heartbeat does not come.
  const check = () => {
    if (!cut && document.visibilityState === "visible" && beatAt && Date.now() - beatAt > STALE_MS) {
      setTimeout(() => { if (Date.now() - beatAt > STALE_MS) lost(); }, 500);
    }
  };
  setInterval(check, 10000);
  document.addEventListener("visibilitychange", () => {
    check();
    if (cut && document.visibilityState === "visible") probe();
  });
})();
