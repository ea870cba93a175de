// When the page asks the server what is new: never while it is hidden, and not while nothing happens.
(() => {
  const SECONDS = { status: 5, models: 2 };
  const loads = () => document.querySelector(".chip.wait") !== null;
  const writes = () => document.querySelector("#stage.s-writing") !== null;
  const shows = (name) => document.body.dataset.tab === name;
  const lively = {
    status: () => loads() || writes(),
    models: () => shows("models") && (loads() || document.querySelector("#models [data-owner]") !== null),
  };
  window.arenaPulse = (name, trigger) => {
    let before = false;  // so that the end of it is asked for, too
    const ask = () => {
      if (document.hidden) return;
      const now = lively[name]();
      if (now || before) trigger("select");
      before = now;
    };
    setInterval(ask, SECONDS[name] * 1000);
    // Who comes back to the page sees what is now.
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden && (name === "status" || shows(name))) trigger("select");
    });
  };
})();
