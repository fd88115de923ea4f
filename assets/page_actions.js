// What a result goes on to: the same list in the result and in the gallery. A `made` is a file:
// its job, index, mode, kind, prompt, name and url.
studio.actions = (() => {
  "use strict";

  const { root, byId, make, ask, button, reveal } = studio.dom;
  const MOST_LINES = 3;
  const READING_MS = 8000; // a line with nothing to do about it
  const SILENT = "The studio does not answer. Try again in a moment.";

  const madeOf = (job, item) => ({ job: job.id, index: item.index, mode: job.mode, kind: item.kind,
    prompt: job.prompt, title: job.title, name: item.file, url: item.url });

  const path = (made, what) =>
    `gallery/${encodeURIComponent(made.job)}/${made.index}/${what}`;

  async function post(made, what) {
    try {
      const answer = await ask(path(made, what), "POST");
      if (!answer.ok) say(answer.error);
      return answer.ok ? answer : null;
    } catch {
      say(SILENT);
      return null;
    }
  }

  // One line at the foot of the window, with at most one thing to do about it.
  function say(sentence, label, act) {
    const line = make("p", { className: "undo-line" }, make("span", { textContent: sentence }));
    const close = () => line.remove();
    if (label) line.append(button(label, () => { close(); act(); }));
    else setTimeout(close, READING_MS);
    line.append(button("×", close, { ariaLabel: "Close", className: "plain close" }));
    const lines = byId("undo-lines");
    lines.append(line);
    while (lines.children.length > MOST_LINES) lines.firstElementChild.remove();
  }

  // The actions

  async function again(made, seed) {
    await studio.gpu.visit();
    const job = await post(made, `again?seed=${seed}`);
    if (!job) return;
    studio.job.open(job.id);
    studio.jobs.watch();
    reveal(byId("job-title"));
  }

  const useSettings = (made) =>
    studio.restore.fill(made.mode, { job: made.job, item: made.index });

  const send = (made, target) => studio.restore.fill(target.mode,
    { job: made.job, item: made.index, control: target.control, part: target.part });

  async function remove(made) {
    if (!await post(made, "delete")) return;
    look(made);
    studio.gallery.remove(made);
    say(`Deleted: ${made.name}`, "Undo", () => undo(made));
  }

  async function undo(made) {
    if (!await post(made, "undo")) return;
    look(made);
    studio.gallery.refresh();
  }

  function look(made) {
    if (studio.job.current.id === made.job) studio.job.watch();
  }

  // Where they are offered

  const download = (made) => make("a", { className: "download", download: made.name || "",
    href: `${root}${made.url}?download`, textContent: "Download" });

  const row = (made) => make("div", { className: "result-actions" },
    download(made),
    button("New seed", () => again(made, "new"), { title: "Again with a new seed" }),
    button("Settings", () => useSettings(made), { title: "Settings into the form" }),
    button("Send to, more …", () => open(made)));

  function open(made) {
    const dialog = byId("made-dialog");
    const after = (act) => () => { dialog.close(); act(); };
    const targets = JSON.parse(byId("gallery").dataset.targets)[made.kind] || [];
    const group = (name, ...buttons) => make("div", { className: "group", role: "group",
      ariaLabel: name }, make("h3", { textContent: name }), ...buttons);
    dialog.replaceChildren(
      make("div", { className: "dialog-head" },
        make("h2", { id: "made-title", textContent: made.title }),
        button("×", () => dialog.close(), { ariaLabel: "Close", className: "plain close" })),
      make("p", { className: "prompt", textContent: made.prompt }),
      group("Make it again",
        button("Settings into the form", after(() => useSettings(made))),
        button("With a new seed", after(() => again(made, "new"))),
        button("Same settings", after(() => again(made, "same")))),
      group("Send to", ...targets.map((target) =>
        button(target.label, after(() => send(made, target))))),
      group("The file", download(made), button("Delete", after(() => remove(made)),
        { className: "plain delete" })));
    dialog.onclick = (event) => { if (event.target === dialog) dialog.close(); };
    dialog.showModal();
  }

  return { madeOf, row, open, say, remove };
})();
