// The gallery: what the visitor has made, newest first, filtered by mode and by words.
studio.gallery = (() => {
  "use strict";

  const { root, byId, make, ask, button, reveal, timeOf } = studio.dom;
  const TYPING_MS = 250;

  const shown = { tiles: new Map(), next: null, pages: 0 };
  let turns = 0; // of overlapping looks only the last counts
  let timer;

  const keyOf = (made) => `${made.job}-${made.index}`;

  function query(before) {
    const values = { mode: byId("gallery-mode").value, text: byId("gallery-text").value.trim() };
    if (before) values.before = before;
    return `gallery?${new URLSearchParams(values)}`;
  }

  async function look(before) {
    const turn = ++turns;
    try {
      const answer = await ask(query(before));
      return turn === turns && answer.ok ? answer : null;
    } catch {
      if (turn === turns) note("The studio does not answer. Try again in a moment.");
      return null;
    }
  }

  async function restart() {
    clearTimeout(timer);
    const answer = await look();
    if (!answer) return;
    // Tiles that stay are not built again, so that they keep the focus.
    const before = shown.tiles;
    Object.assign(shown, { tiles: new Map(), next: answer.next, pages: 1 });
    add(answer.items, before);
    announce();
  }

  // What is new comes to the front; pages that are open stay open.
  async function refresh() {
    const answer = await look();
    if (!answer) return;
    if (shown.pages < 2) Object.assign(shown, { next: answer.next, pages: 1 });
    add(answer.items);
  }

  async function more() {
    const answer = await look(shown.next);
    if (!answer) return;
    Object.assign(shown, { next: answer.next, pages: shown.pages + 1 });
    const first = answer.items[0];
    add(answer.items);
    if (first) shown.tiles.get(keyOf(first))?.querySelector("a").focus({ preventScroll: true });
    announce();
  }

  function add(items, known = shown.tiles) {
    for (const made of items) {
      shown.tiles.set(keyOf(made), known.get(keyOf(made)) ?? tile(made));
    }
    draw();
  }

  function remove(made) {
    const gone = shown.tiles.get(keyOf(made));
    const next = gone?.nextElementSibling ?? gone?.previousElementSibling;
    shown.tiles.delete(keyOf(made));
    draw();
    (next ?? byId("gallery-text")).querySelector?.("a")?.focus({ preventScroll: true });
  }

  function draw() {
    const tiles = [...shown.tiles.values()].sort((one, other) =>
      other.made.serial - one.made.serial || other.made.index - one.made.index);
    const grid = byId("gallery-grid");
    const kept = new Set(tiles);
    for (const old of [...grid.children]) if (!kept.has(old)) old.remove();
    tiles.forEach((item, place) => {
      if (grid.children[place] !== item) grid.insertBefore(item, grid.children[place] || null);
    });
    const filtered = byId("gallery-mode").value || byId("gallery-text").value.trim();
    note(tiles.length ? "" : filtered ? "Nothing found. Try fewer words, or all modes."
      : "Every finished picture and clip is kept here.");
    byId("gallery-more").hidden = !shown.next;
    byId("gallery-filter").hidden = !tiles.length && !filtered;
  }

  function note(sentence) {
    byId("gallery-empty").textContent = sentence;
    byId("gallery-empty").hidden = !sentence;
  }

  function announce() {
    const count = shown.tiles.size;
    byId("gallery-said").textContent = count
      ? `${count} ${count === 1 ? "file" : "files"} shown${shown.next ? ", more below" : ""}`
      : "Nothing found";
  }

  function tile(made) {
    const name = `${made.title}: ${made.prompt}`;
    const picture = make("img", { src: root + made.poster, alt: "", loading: "lazy",
      width: 160, height: 160, decoding: "async" });
    picture.onerror = () => picture.replaceWith(
      make("span", { className: "no-poster", textContent: "No preview" }));
    const seconds = made.seconds ? `${made.seconds.toFixed(1)} s · ` : "";
    const link = make("a", { href: `?mode=${made.mode}&job=${made.job}`, title: name },
      picture,
      make("span", { className: "tile-kind", textContent: made.tag }),
      make("span", { className: "tile-prompt", textContent: made.prompt }),
      make("span", { className: "tile-time", textContent: seconds + timeOf(made.created) }));
    link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return; // another tab
      event.preventDefault();
      open(made);
    });
    const actions = button("⋯", () => studio.actions.open(made), {
      className: "plain tile-more", ariaLabel: `Actions for ${name}` });
    return Object.assign(make("li", {}, link, actions), { made });
  }

  async function open(made) {
    await studio.job.open(made.job);
    const figure = byId("job").querySelectorAll("figure")[made.index];
    reveal(made.index && figure ? figure : byId("job-title"));
  }

  function later() {
    clearTimeout(timer);
    timer = setTimeout(restart, TYPING_MS);
  }

  function start() {
    byId("gallery-text").addEventListener("input", later);
    byId("gallery-mode").addEventListener("change", restart);
    byId("gallery-more").addEventListener("click", more);
    byId("gallery-filter").addEventListener("submit", (event) => {
      event.preventDefault();
      restart();
    });
    refresh();
  }

  return { start, refresh, remove };
})();
