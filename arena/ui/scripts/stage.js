// The battle stage: what moves in it moves because the reader moved it.
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const bodies = () => all(".pane-body");
  const stage = () => document.getElementById("stage");

  // A pill says that there is more below; a pane never scrolls by itself.
  const SLACK_PX = 8;
  const more = (body) => {
    const left = body.scrollHeight - body.clientHeight - body.scrollTop;
    body.parentElement.classList.toggle("more", left > SLACK_PX);
  };
  // What is larger than its place scrolls inside itself, also by the keyboard.
  const reachable = (body, parts = "pre, table, .katex-display") => all(parts, body).forEach((part) => {
    if (part.scrollWidth > part.clientWidth || part.scrollHeight > part.clientHeight + 1) part.tabIndex = 0;
    else part.removeAttribute("tabindex");
  });
  // The page has one h1, and a pane's name is an h2: what a model calls a heading is below it.
  const lower = (body) => all("h1, h2, h3, h4, h5, h6", body).forEach((heading) => {
    heading.setAttribute("aria-level", Math.min(6, Number(heading.tagName[1]) + 2));
  });
  const LINES = ".stats .stats, #reveal .reveal";
  const watchLine = (line) => {
    const look = () => reachable(line.parentElement, LINES);
    new ResizeObserver(look).observe(line);
    new MutationObserver(look).observe(line, { childList: true, subtree: true, characterData: true });
  };
  let together = false;
  let led = null;  // the pane that the reader scrolls while the other follows
  const follow = (body) => {
    more(body);
    if (!together || (led && led !== body)) return;
    led = body;
    const share = body.scrollTop / Math.max(1, body.scrollHeight - body.clientHeight);
    bodies().filter((other) => other !== body).forEach((other) => {
      other.scrollTop = share * (other.scrollHeight - other.clientHeight);
    });
    requestAnimationFrame(() => requestAnimationFrame(() => { led = null; }));
  };
  const watchPane = (body) => {
    if (body.dataset.watched) return;
    body.dataset.watched = "yes";
    body.tabIndex = 0;
    // Gradio's columns have no roles and names.
    const pane = body.closest(".pane");
    pane.setAttribute("role", "region");
    pane.setAttribute("aria-labelledby", pane.matches(".side-a") ? "name-a" : "name-b");
    body.addEventListener("scroll", () => follow(body), { passive: true });
    const look = () => { more(body); reachable(body); lower(body); };
    new ResizeObserver(look).observe(body);
    new MutationObserver(look).observe(body, { childList: true, subtree: true, characterData: true });
  };
  // On a phone one pane is on screen; a swipe or the switch shows the other.
  const mark = () => {
    const panes = document.getElementById("panes");
    const side = panes.scrollLeft > panes.clientWidth / 2 ? "b" : "a";
    all("#sides [data-side]").forEach((button) => {
      button.setAttribute("aria-pressed", button.dataset.side === side);
    });
  };
  const show = (side) => {
    const panes = document.getElementById("panes");
    panes.scrollTo({ left: side === "b" ? panes.scrollWidth : 0 });
  };

  // The next battle begins with an example that this visitor has not seen, ready to be replaced.
  let next = false;
  const box = () => document.querySelector("#prompt textarea");
  // What a screen reader says: the end of a state, never what is being written.
  const spoken = () => {
    const region = document.getElementById("spoken");
    const writes = stage().classList.contains("s-writing");
    requestAnimationFrame(() => {
      region.textContent = writes ? "" : document.getElementById("reveal").textContent;
    });
  };
  const watchStage = () => new MutationObserver(() => {
    spoken();
    const idle = stage().classList.contains("s-idle");
    if (!idle || !next) return;
    next = false;
    if (box().value) window.arenaFocusPrompt();
    else document.getElementById("preset-dice")?.click();
  }).observe(stage(), { attributes: true, attributeFilter: ["class"] });

  // Gradio makes the parts one by one; a battle begins long after the last one.
  const begin = new MutationObserver(() => {
    const panes = document.getElementById("panes");
    if (bodies().length < 2 || all(LINES).length < 3 || !document.querySelector("#sides button")) return;
    begin.disconnect();
    bodies().forEach(watchPane);
    all(LINES).forEach(watchLine);
    document.getElementById("dock").tabIndex = -1;
    panes.addEventListener("scroll", mark, { passive: true });
    mark();
    document.body.insertAdjacentHTML("beforeend", '<div id="spoken" role="status" class="ar-unseen"></div>');
    watchStage();
  });
  begin.observe(document, { childList: true, subtree: true });

  window.arenaLink = (element) => {
    element.addEventListener("click", async (event) => {
      const button = event.target.closest("#copy-link");
      if (!button) return;
      const link = new URL(`?battle=${button.dataset.battle}`, location.href).href;
      try {
        await navigator.clipboard.writeText(link);
      } catch {  // not allowed in this frame, or no https
        const field = document.createElement("textarea");
        field.value = link;
        document.body.append(field);
        field.select();
        document.execCommand("copy");
        field.remove();
      }
      button.textContent = button.dataset.copied;
    });
  };

  // The menu of a phone: tabs, language, kind of battle and settings in one sheet.
  window.arenaMenu = (element) => {
    const page = element.closest("main").firstElementChild;
    const open = (wanted) => {
      const was = page.dataset.menu === "open";
      page.dataset.menu = wanted ? "open" : "";
      element.querySelector("#menu").setAttribute("aria-expanded", wanted);
      if (wanted && !was) page.querySelector("[role=tab][aria-selected=true]")?.focus();
    };
    document.addEventListener("click", (event) => {
      if (event.target.closest("#menu")) open(page.dataset.menu !== "open");
      else if (!event.target.closest("#tools, #choose")) open(false);
    });
    document.addEventListener("keydown", (event) => { if (event.key === "Escape") open(false); });
  };

  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-earlier]")) stage()?.querySelector("#panes").classList.toggle("earlier-shown");
    const pill = event.target.closest(".pill-more");
    if (pill) {
      const body = pill.closest(".pane").querySelector(".pane-body");
      body.scrollBy({ top: body.clientHeight * 0.85 });
    }
    if (event.target.closest("#new-battle")) next = true;
    const joined = event.target.closest("[data-together]");
    if (joined) {
      together = !together;
      joined.setAttribute("aria-pressed", together);
    }
    const side = event.target.closest("#sides [data-side]");
    if (side) show(side.dataset.side);
    const grow = event.target.closest("[data-expand]");
    if (grow) {
      const wide = document.getElementById("panes").dataset;
      wide.expanded = wide.expanded === grow.dataset.expand ? "" : grow.dataset.expand;
    }
  });
})();
