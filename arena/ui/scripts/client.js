// What the server may know of this browser: its visitor, its language, the battle of its link.
(() => {
  // Where the browser gives a frame no storage, the history's state outlives a reload at least.
  const history_ = {
    getItem: (key) => history.state?.[key] ?? null,
    setItem: (key, value) => history.replaceState({ ...history.state, [key]: value }, ""),
  };
  const storage = (name) => {
    try {
      window[name].setItem("arena-test", "");
      return window[name];
    } catch { return history_; }
  };
  const keeper = (place) => ({
    stored: place !== history_,
    read: (key) => place.getItem(`arena-${key}`),
    write: (key, value) => { try { place.setItem(`arena-${key}`, value); } catch { /* it is full */ } },
  });
  // What all tabs of this browser share, and what this tab alone has.
  window.arenaKeep = { browser: keeper(storage("localStorage")), tab: keeper(storage("sessionStorage")) };
  const { read, write } = window.arenaKeep.browser;

  const visitor = () => {
    let id = read("visitor");
    if (!/^[0-9a-f]{32}$/.test(id || "")) {
      id = Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
      write("visitor", id);
    }
    return id;
  };
  const wanted = () => new URLSearchParams(location.search).get("lang") || read("language") || "";

  // What the server may know of this browser when the page opens.
  window.arenaClient = () => ({
    visitor: visitor(),
    language: wanted(),
    accepts: navigator.language || "",
    battle: new URLSearchParams(location.search).get("battle") || "",
    ...window.arenaShows(),
  });
  // The server has put the page into this language; a choice is kept, a guess is not.
  window.arenaSpeaks = (language, chosen) => {
    document.documentElement.lang = language;
    if (chosen) write("language", language);
  };
})();
