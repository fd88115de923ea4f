// The download of models: started by any button with `data-fetch`, drawn into every place with
// `data-fetching`. The studio owns it: each tab only looks.
studio.fetching = (() => {
  "use strict";

  const { root, byId, make, fill, ask, button, reveal } = studio.dom;
  const LIVE_MS = 500;
  const HIDDEN_MS = 3000;
  const MEMORY_MS = 3000; // until the studio has read the machine's memory
  const MEMORY_LOOKS = 20;
  const ADDRESS = /(https:\/\/[\w.-]+\/[\w./~-]*[\w/~-])/;

  const now = { fetch: null, seen: null, refusal: "", memoryKnown: null };
  let timer, looks = 0, turns = 0; // of overlapping looks only the last counts

  async function watch() {
    clearTimeout(timer);
    const turn = ++turns;
    try {
      const answer = await ask("fetch");
      if (turn !== turns) return;
      look(answer);
    } catch {
      if (turn !== turns) return;
    }
    if (now.fetch?.live) timer = setTimeout(watch, document.hidden ? HIDDEN_MS : LIVE_MS);
    else if (!now.memoryKnown && ++looks < MEMORY_LOOKS) timer = setTimeout(watchSeen, MEMORY_MS);
  }

  const watchSeen = () => document.hidden || watch(); // once it is seen again, it looks by itself

  function look(answer) {
    const was = now.fetch;
    now.fetch = answer.fetch;
    if (now.fetch?.live) now.seen = now.fetch.id;
    const ended = now.fetch && !now.fetch.live && was?.live;
    const learnt = answer.memoryKnown && now.memoryKnown === false;
    if ("memoryKnown" in answer) now.memoryKnown = answer.memoryKnown;
    if (ended || learnt) refresh();
    draw();
  }

  function refresh() {
    byId("refresh-forms")?.click();
    studio.models.load();
    studio.welcome.load();
  }

  async function change(path, order) {
    clearTimeout(timer);
    turns++; // what was asked before this is no longer true
    try {
      const response = await fetch(root + path, {
        method: "POST",
        headers: { Accept: "application/json", "Content-Type": "application/json" },
        body: order,
      });
      const answer = await response.json();
      now.refusal = answer.error || "";
      if (now.refusal) refresh(); // it may be here by now
      // A short download may be over before anybody looks.
      if (answer.fetch && path !== "fetch/cancel") now.fetch = { ...answer.fetch, live: true };
      if (now.fetch?.live) now.seen = now.fetch.id;
    } catch {
      now.refusal = "The studio does not answer. Try again in a moment.";
    }
    draw();
    return watch();
  }

  // Drawing

  function draw() {
    const { fetch, refusal, seen } = now;
    for (const one of document.querySelectorAll("[data-fetch]")) one.disabled = Boolean(fetch?.live);
    for (const place of document.querySelectorAll("[data-fetching]")) {
      // Apart, so that the button keeps the focus while the numbers change.
      if (!place.children.length) place.append(...[1, 2, 3].map(() => make("div")));
      const [figures, ending, actions] = place.children;
      fill(figures, fetch?.live ? fetch : null, (live) => (live ? progress(live) : []));
      fill(ending, [fetch?.id, fetch?.state, seen, refusal], () => [
        fetch?.state === "failed" && card(fetch.failure),
        // What ended before this page was opened is no news.
        fetch && !fetch.live && fetch.state !== "failed" && fetch.id === seen
          && make("p", { className: "quiet", textContent: sentence(fetch) }),
        refusal && card(refusal),
      ]);
      fill(actions, [fetch?.id, fetch?.live, fetch?.state === "failed"], () => [
        fetch?.live && button("Cancel", () => change("fetch/cancel")),
        fetch?.state === "failed" && button("Try again", () => change("fetch/again")),
      ]);
    }
    announce(sentence(fetch));
  }

  function progress(fetch) {
    const known = fetch.bytes_total > 0;
    const share = known ? Math.floor(100 * fetch.bytes_done / fetch.bytes_total) : 0;
    const bar = make("progress", { max: 100, value: share });
    bar.setAttribute("aria-label", `Fetching ${fetch.what}`);
    const speed = fetch.bytes_per_second && `${size(fetch.bytes_per_second)}/s`;
    const left = fetch.seconds_left !== null && `${clock(fetch.seconds_left)} left`;
    const where = fetch.state === "fetching" && known
      ? `${size(fetch.bytes_done)} of ${size(fetch.bytes_total)}` : "Asking the Hub …";
    return [
      make("p", {}, make("strong", { textContent: `Fetching ${fetch.what}` })),
      bar,
      make("p", { className: "line meta" },
        make("span", { textContent: [where, speed].filter(Boolean).join(" · ") }),
        make("span", { textContent: left || "" })),
      fetch.current.length > 0
        && make("p", { className: "meta", textContent: fetch.current.join(", ") }),
      fetch.note && make("p", { className: "quiet", textContent: fetch.note }),
    ];
  }

  function sentence(fetch) {
    if (!fetch) return "";
    return {
      done: `${fetch.what} is here.`,
      cancelled: "Stopped. What has arrived is kept, and the next try goes on from there.",
      failed: fetch.failure,
    }[fetch.state] || `Fetching ${fetch.what}`;
  }

  function announce(text) {
    const status = byId("fetch-status");
    if (status && status.textContent !== text) status.textContent = text;
  }

  const card = (text) => make("div", { className: "card failed" },
    make("p", {}, make("strong", {}, ...linked(text))));

  function linked(text) {
    // `split` with a group gives what is found at every second place.
    return text.split(ADDRESS).map((part, index) => (index % 2
      ? make("a", { href: part, textContent: part, target: "_blank", rel: "noopener" }) : part));
  }

  function size(bytes) {
    const units = ["B", "kB", "MB", "GB"];
    const power = Math.min(3, Math.floor(Math.log10(Math.max(bytes, 1)) / 3));
    return `${(bytes / 1000 ** power).toFixed(power > 2 ? 1 : 0)} ${units[power]}`;
  }

  function clock(seconds) {
    if (seconds < 90) return `${Math.ceil(seconds)} s`;
    const minutes = Math.ceil(seconds / 60);
    return minutes < 90 ? `${minutes} min` : `${(minutes / 60).toFixed(1)} h`;
  }

  function start() {
    // Gradio makes a form when its mode is first chosen, and draws the cards anew.
    new MutationObserver(draw).observe(byId("form"), { childList: true, subtree: true });
    document.addEventListener("click", (event) => {
      const pressed = event.target.closest?.("[data-fetch]");
      if (!pressed) return;
      change("fetch", pressed.dataset.fetch);
      const panel = pressed.closest("#models-panel");
      if (panel) reveal(panel.querySelector("[data-fetching]"));
    });
    document.addEventListener("visibilitychange", watchSeen);
    studio.models.start();
    watch();
  }

  return { start, draw };
})();
