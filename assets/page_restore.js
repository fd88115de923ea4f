// Fills forms: with the settings of a job or of a dropped file, or with a result that is sent on.
studio.restore = (() => {
  "use strict";

  const { root, byId, make, button, reveal, addressed } = studio.dom;

  let wanted = null; // what the next press of a hidden button asks for

  const asked = () => wanted;

  function fill(mode, what) {
    wanted = what;
    byId(`nav-${mode}`).click();
    byId(`${mode}-fill`).click();
  }

  function filled(said) {
    if (!said) return;
    if (said.error) return show(failure(said.error));
    if (said.sent) {
      show(null);
      studio.actions.say(`Sent to ${said.title}.`);
      const control = byId(said.element);
      if (control) reveal(control);
      return;
    }
    show(report(said));
  }

  function report(said) {
    const card = make("div", { className: "card restored" }, head(said.restored.length
      ? `Settings restored in ${said.title}` : `Nothing could be restored in ${said.title}`));
    card.append(make("p", { className: "note", textContent: said.restored.join(", ") }));
    if (said.lost.length) {
      card.append(make("p", { className: "not-restored", textContent: "Not restored:" }), make("ul", {},
        ...said.lost.map((textContent) => make("li", { textContent }))));
    }
    return card;
  }

  const failure = (sentence) => make("div", { className: "card failed" }, head(sentence));

  const head = (sentence) => make("div", { className: "card-head" },
    make("p", {}, make("strong", { textContent: sentence })),
    button("×", () => show(null), { ariaLabel: "Close", className: "plain close" }));

  function show(card) {
    const place = byId("restored");
    place.replaceChildren(...(card ? [card] : []));
    if (!card) return;
    card.setAttribute("role", "alert");
    reveal(card);
  }

  function onExample(event) {
    const { mode, example, demo } = event.target.closest?.("[data-example]")?.dataset ?? {};
    if (mode) fill(mode, { example: Number(example), demo: demo === "True" });
  }

  // A file that says how it was made

  async function restoreFile(file) {
    if (file.size > Number(byId("gallery").dataset.mostBytes)) {
      return show(failure(`“${file.name}” is too large to carry a recipe.`));
    }
    const mode = addressed("mode") || "";
    try {
      const response = await fetch(`${root}recipe?${new URLSearchParams({ name: file.name, mode })}`,
        { method: "POST", body: file, headers: { Accept: "application/json" } });
      const answer = await response.json();
      if (!response.ok) return show(failure(answer.error));
      fill(answer.mode, { wish: answer.wish });
    } catch {
      show(failure("The studio does not answer, or this file cannot be read. Try again."));
    }
  }

  // Over a control that takes files, dropping is the control's own.
  const isOurs = (event) => event.dataTransfer?.types.includes("Files") &&
    !event.target.closest?.(".takes-files");

  function onDrag(event) {
    byId("drop-hint").hidden = !isOurs(event);
    if (!isOurs(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
  }

  function onDrop(event) {
    byId("drop-hint").hidden = true;
    if (!isOurs(event)) return;
    event.preventDefault();
    const [file] = event.dataTransfer.files;
    if (file) restoreFile(file);
  }

  function onLeave(event) {
    if (!event.relatedTarget) byId("drop-hint").hidden = true;
  }

  function start() {
    const chosen = byId("restore-file");
    byId("restore-choose").addEventListener("click", () => chosen.click());
    chosen.addEventListener("change", () => {
      if (chosen.files[0]) restoreFile(chosen.files[0]);
      chosen.value = "";
    });
    document.addEventListener("click", onExample);
    document.addEventListener("dragover", onDrag);
    document.addEventListener("drop", onDrop);
    document.addEventListener("dragleave", onLeave);
  }

  return { start, asked, fill, filled };
})();
