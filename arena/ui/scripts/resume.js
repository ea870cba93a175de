// Nothing is lost by a reload or a cut of the network: the draft, the battle, a vote.
(() => {
  const { browser, tab } = window.arenaKeep;
  const box = () => document.querySelector("#prompt textarea");
  const told = () => document.querySelector("#shown [data-shown]")?.dataset || {};

  // --- what this tab shows -----------------------------------------------------------------------

  // The storage of a duplicated tab is a copy of the one of a tab that is still open: it begins empty.
  const copied = tab.stored && tab.read("open");
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
  };
  const settle = () => {
    if (!opened) return;
    const { shown = "", voted, gone } = told();
    if (gone) { lost(); return; }
    tab.write("shown", shown);
    const vote = kept();
    if (!vote || vote.shown !== shown) return;
    if (voted) browser.write("vote", "");
    else if (!blocked()) replay();
  };

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
  const SILENT_MS = 15000;
  const QUIET_MS = 700;
  let cut = false;
  let offline = false;
  let root = "";
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
      const reply = await real(`${root}robots.txt`, { cache: "no-store", signal: AbortSignal.timeout(3000) });
      if (reply.ok) { back(); return; }
    } catch { /* not yet */ }
    clearTimeout(probing);
    probing = setTimeout(probe, wait, Math.min(1.02 * wait, 2000));
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

  // Gradio opens it before any script of ours runs; this tells of its end.
  new PerformanceObserver((list) => {
    if (list.getEntries().some((one) => one.name.includes("/gradio_api/heartbeat/"))) lost();
  }).observe({ type: "resource", buffered: true });
  const watched = (reply) => {
    const reader = reply.body.getReader();
    const body = new ReadableStream({
      async pull(controller) {
        try {
          const { done, value } = await reader.read();
          if (done) controller.close();
          else controller.enqueue(value);
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
    root = `${url.origin}${url.pathname.slice(0, at)}/`;
    // After a sleep a network may be gone without a word: a request that is not even taken.
    const silent = setTimeout(lost, SILENT_MS);
    let reply;
    try {
      reply = await real(input, init);
    } catch (error) {
      if (error.name !== "AbortError") lost();
      throw error;
    } finally {
      clearTimeout(silent);
    }
    if (reply.status >= 502 && reply.status <= 504) lost();  // a proxy whose server is away
    return reply.ok && reply.body && url.pathname.endsWith("/queue/data") ? watched(reply) : reply;
  };

  addEventListener("offline", () => { offline = true; say("lost"); });
  addEventListener("online", () => {
    offline = false;
    if (cut) probe();
    else hide();
  });
  document.addEventListener("visibilitychange", () => {
    if (cut && document.visibilityState === "visible") probe();
  });
})();
