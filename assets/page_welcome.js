// The welcome above the form, until it is closed or the first thing is made.
studio.welcome = (() => {
  "use strict";

  const { byId, make, fill, ask, recall, remember } = studio.dom;
  const KEY = "welcomed";

  async function load() {
    if (byId("welcome").hidden) return;
    let said;
    try {
      said = await ask("welcome");
    } catch {
      return; // the page itself says that the studio does not answer
    }
    const lines = said.lines || [{ about: "This machine", says: said.error }];
    fill(byId("welcome-lines"), lines, () => lines.flatMap((one) =>
      [make("dt", { textContent: one.about }), make("dd", { textContent: one.says })]));
  }

  function show() {
    byId("welcome").hidden = false;
    return load();
  }

  function close() {
    remember(KEY, "yes");
    const within = byId("welcome").contains(document.activeElement);
    byId("welcome").hidden = true;
    if (within) focusForm();
  }

  // Its heading, not the prompt: on a phone that would bring up the keyboard.
  function focusForm() {
    const heading = [...document.querySelectorAll("#tabs h2")].find((one) => one.offsetParent);
    if (!heading) return;
    heading.tabIndex = -1;
    heading.focus();
  }

  function showAgain() {
    byId("help").close();
    studio.shell.closeDrawer();
    show();
    byId("welcome-title").scrollIntoView({ block: "center" });
    byId("welcome-title").focus({ preventScroll: true });
  }

  function start() {
    byId("welcome-close").addEventListener("click", close);
    byId("welcome").addEventListener("keydown", (event) => {
      if (event.key === "Escape") close();
    });
    byId("welcome-again").addEventListener("click", showAgain);
    if (recall(KEY) === null) show();
  }

  return { start, load, close };
})();
