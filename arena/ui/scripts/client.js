// What the server may know of this browser: its visitor, its language, the battle of its link.
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
})();
