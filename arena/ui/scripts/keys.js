// The prompt box and the keys: what is typed never votes, digits do where nothing is typed.
(() => {
  const box = () => document.querySelector("#prompt textarea");
  window.arenaFocusPrompt = () => {
    // On a phone the keyboard would cover the page.
    if (matchMedia("(min-width: 701px)").matches) box()?.focus();
    else document.getElementById("send")?.focus();
  };

  const editable = (el) => el && (el.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(el.tagName));
  const arenaShown = () => document.body.dataset.tab === "arena";
  const buttons = { 1: "vote-a", 2: "vote-tie", 3: "vote-bad", 4: "vote-b", n: "new-battle" };
  // A key presses its button if nothing was typed for so long before it, and no other key comes
  // for so long.
  const QUIET_MS = 1000;
  const HOLD_MS = 400;
  let typedAt = -Infinity;
  let held = null;  // {key, button, timer}: what the key would press; null where it can't

  const buttonOf = (key) => {
    const button = document.getElementById(buttons[key]);
    // A vote is not skipped by a key.
    if (key === "n" && !document.querySelector("#stage.s-revealed")) return null;
    if (!button || button.disabled || !arenaShown()) return null;
    const { top, bottom, height } = button.getBoundingClientRect();
    return height && top >= 0 && bottom <= innerHeight ? button : null;
  };
  const letGo = () => {
    clearTimeout(held?.timer);
    const key = held?.key || "";
    held = null;
    return key;
  };
  // A key while no field has the focus: a vote, the next battle, or text for the prompt box.
  const keyOutside = (event, quiet) => {
    if (event.repeat || !arenaShown()) return;
    const button = quiet && buttons[event.key] ? buttonOf(event.key) : null;
    if (!held && (button || event.key in { 1: 0, 2: 0, 3: 0, 4: 0 })) {
      const timer = setTimeout(() => {
        if (buttonOf(letGo()) === button) button?.click();
      }, HOLD_MS);
      held = { key: event.key, button, timer };
      return;
    }
    if (!held && event.key === "/") event.preventDefault();
    if (!held && event.key === " ") return;  // presses a button, or scrolls
    const before = letGo();
    box()?.focus();
    if (before) document.execCommand("insertText", false, before);
  };

  window.addEventListener("keydown", (event) => {
    // The Enter that confirms a Japanese conversion must not send.
    if (event.key === "Enter" && (event.isComposing || event.keyCode === 229)) {
      event.stopImmediatePropagation();
      return;
    }
    if (event.key === "Escape") {
      if (!window.arenaEscape() && editable(event.target)) window.arenaRest();
      return;
    }
    if (event.target === box() && event.key === "Enter" && !event.shiftKey) asked();
    if (event.key.length > 1 || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const quiet = performance.now() - typedAt >= QUIET_MS;
    typedAt = performance.now();
    if (editable(event.target)) letGo();
    else keyOutside(event, quiet);
  }, true);

  // What was in the box when it was sent, and what it became by typing while the server took it.
  let sent = null;
  let typed = null;
  const asked = () => { [sent, typed] = [box().value, null]; };
  // The inputs of Send, with the text as it was at the Enter: on a slow machine Gradio reads them
  // later, when the next words may stand there.
  window.arenaSending = (state, text, ...others) => {
    const asIs = sent === null || !text.startsWith(sent);
    return [state, asIs ? text : sent, ...others];
  };
  window.addEventListener("input", (event) => {
    typedAt = performance.now();
    if (event.target === box()) typed = event.target.value;
  }, true);
  // The box has another text, by typing or from the server, which empties it when it has taken it.
  window.arenaPrompt = (text) => {
    if (text || sent === null || typed === "") return;
    const rest = typed === null ? "" : typed.startsWith(sent) ? typed.slice(sent.length) : typed;
    sent = null;
    if (!rest) {
      window.arenaRest();  // from here on the vote keys work
    } else if (!box().value) {
      box().value = rest;
      box().dispatchEvent(new Event("input", { bubbles: true }));
    }
  };

  document.addEventListener("click", (event) => {
    if (event.target.closest("#send")) asked();
  });
})();
