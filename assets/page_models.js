// The panel of models: each mode's sets of weights, the machine, and its memory given back.
studio.models = (() => {
  "use strict";

  const { byId, make, fill, ask, button } = studio.dom;

  async function load() {
    if (!byId("models-details")?.open) return;
    try {
      const [models, machine] = await Promise.all([ask("models"), ask("machine")]);
      if (models.ok) show(models);
      else fill(byId("models-list"), models, () => [make("p", { textContent: models.error })]);
      fill(byId("models-machine"), machine, () => (machine.ok ? about(machine) : []));
    } catch {
      fill(byId("models-machine"), "silent", () => [make("p", { className: "quiet",
        textContent: "The studio does not answer. Close and open this to try again." })]);
    }
  }

  function show(models) {
    const list = byId("models-list");
    const open = new Set([...list.querySelectorAll("details[open]")].map((one) => one.dataset.mode));
    if (!list.children.length) open.add(currentMode());
    fill(list, models, () => models.modes.map((mode) =>
      modeOf(mode, models.canFetch, open.has(mode.id))));
    studio.fetching.draw();
  }

  const currentMode = () =>
    document.querySelector("#nav button.mode[aria-current]")?.id.replace("nav-", "");

  function modeOf(mode, canFetch, open) {
    return make("details", { open, data: { mode: mode.id } },
      make("summary", {}, make("strong", { textContent: mode.label }),
        make("span", { className: "meta", textContent: mode.runs })),
      ...mode.sets.map((set) => setOf(mode, set, canFetch)));
  }

  function setOf(mode, set, canFetch) {
    const here = set.missing === 0;
    const fetch = (label, order) => button(label, null, { data: {
      fetch: JSON.stringify({ mode: mode.id, variant: set.variant, ...order }) } });
    const more = set.missingOfAll > set.missing;
    const parts = [
      make("p", { className: "line" },
        make("span", { className: "chip", data: { state: here ? "done" : "queued" },
          textContent: here ? "Here" : `${gigabytes(set.missing)} missing` }),
        make("strong", { textContent: set.variant }),
        make("span", { className: "meta", textContent: set.engine })),
      set.install && make("p", { className: "quiet", textContent: set.install }),
      make("p", { className: "quiet" }, ...licences(set.licences)),
      filesOf(set),
      canFetch && !here && fetch(`Fetch ${gigabytes(set.missing)}`, {}),
      canFetch && more && fetch(`Fetch all that the mode can use, ${gigabytes(set.missingOfAll)}`,
        { all: true }),
    ];
    return make("div", { className: "weights-set", data: { variant: set.variant } },
      ...parts.filter(Boolean));
  }

  function licences(all) {
    const links = all.flatMap((one, index) => [index ? ", " : " ", make("a", {
      href: one.page, textContent: one.name, target: "_blank", rel: "noopener" })]);
    return [all.length === 1 ? "Licence:" : "Licences:", ...links];
  }

  function filesOf(set) {
    const rows = set.models.map((one) => make("li", {}, one.name, " ", make("span", {
      textContent: `${gigabytes(one.gigabytes)}, ${one.state}` })));
    return make("details", { className: "files" },
      make("summary", { textContent: rows.length > 1 ? `${rows.length} files and folders` : "1 file or folder" }), make("ul", {}, ...rows));
  }

  function about(machine) {
    const rows = [["Memory", machine.memory || "not known yet"], ["Disk", machine.disk],
      ...machine.options.map((one) => [one.name, one.value]),
      ...machine.folders.map((one) => [one.name, one.path])];
    const list = make("dl", { className: "facts" });
    for (const [name, value] of rows) {
      list.append(make("dt", { textContent: name }), make("dd", { textContent: value }));
    }
    const said = make("p", { className: "quiet", role: "status" });
    return [list, make("div", { className: "line" }, button("Unload", () => unload(said), {
      title: "Gives the memory of the engine's weights back" }), said)];
  }

  async function unload(said) {
    try {
      const answer = await ask("unload", "POST");
      said.textContent = answer.error || answer.sentence;
    } catch {
      said.textContent = "The studio does not answer. Try again in a moment.";
    }
  }

  const gigabytes = (size) => `${size >= 9.95 ? size.toFixed(0) : Math.max(size, 0.1).toFixed(1)} GB`;

  const start = () => byId("models-details").addEventListener("toggle", load);

  return { start, load };
})();
