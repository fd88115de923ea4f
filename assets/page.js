// The page: the navigation, what Generate answers, and the start. Gradio has the forms.
Object.assign(studio, (() => {
  "use strict";

  const { byId, make, button, address, addressed, reveal } = studio.dom;
  const UNFOLD_MS = 200;

  const firstMode = () => document.querySelector("#nav button.mode").id.replace("nav-", "");

  function addressedMode() {
    const mode = addressed("mode");
    return byId(`nav-${mode}`) ? mode : firstMode();
  }

  const shownMode = () =>
    document.querySelector("#nav button.mode[aria-current]")?.id.replace("nav-", "");

  // From one form to another, with what was filled in.
  function go(mode, values) {
    const from = shownMode();
    return [choose(mode), ...studio.carry.into(mode, from, values)];
  }

  function choose(mode) {
    for (const one of document.querySelectorAll("#nav button.mode")) {
      if (one.id === `nav-${mode}`) one.setAttribute("aria-current", "page");
      else one.removeAttribute("aria-current");
    }
    const tag = byId("mode-tag");
    tag.textContent = JSON.parse(tag.dataset.tags)[mode];
    if (mode !== addressedMode()) address("mode", mode);
    byId("notice").textContent = "";
    studio.shell.closeDrawer();
    count(mode);
    return { __type__: "update", selected: mode };
  }

  // What would come of the form as it is filled in now.
  const count = (mode = addressedMode()) => byId(`${mode}-count`)?.click();

  function answered(mode, answer) {
    if (!answer) return;
    showRefusal(mode, answer.error ? answer : null);
    if (!answer.job) return;
    studio.welcome.close();
    studio.job.open(answer.job);
    studio.jobs.watch();
    reveal(byId("job-title"));
  }

  function showRefusal(mode, refusal) {
    document.querySelector(".refused")?.classList.remove("refused");
    const place = byId(`${mode}-refusal`);
    place.replaceChildren();
    if (!refusal) return;
    const card = make("div", { className: "card failed", role: "alert" },
      make("p", {}, make("strong", { textContent: refusal.error })));
    if (refusal.element) {
      byId(refusal.element)?.classList.add("refused");
      card.append(button(`Go to ${refusal.label}`, () => goTo(mode, refusal.element)));
    }
    place.append(card);
    reveal(card);
  }

  function goTo(mode, id) {
    const hidden = !byId(id)?.offsetParent;
    if (hidden) document.querySelector(`#tab-${mode} .advanced button.label-wrap`)?.click();
    setTimeout(() => {
      const control = byId(id);
      if (!control) return;
      reveal(control);
      control.querySelector("textarea, input, button")?.focus({ preventScroll: true });
    }, hidden ? UNFOLD_MS : 0);
  }

  const pressMode = (mode) => byId(`nav-${mode}`).click();

  async function openAddressed() {
    const job = addressed("job");
    if (job === studio.job.current.id) return;
    if (!job) return studio.job.close();
    await studio.job.open(job, false);
    const { id, mode } = studio.job.current;
    if (id !== job || !byId(`nav-${mode}`) || addressed("mode")) return;
    address("mode", mode, "replaceState"); // the link named the job alone
    pressMode(mode);
  }

  async function openRunning() {
    // A tab that is opened anew shows what goes on.
    await studio.jobs.watch();
    const job = studio.jobs.running();
    if (job && !studio.job.current.id && !addressed("job")) studio.job.open(job.id, false);
  }

  function forgetUnknownMode() {
    const asked = addressed("mode");
    if (!asked || byId(`nav-${asked}`)) return "";
    const mode = firstMode();
    address("mode", mode, "replaceState");
    return `There is no mode called “${asked}”. This is ${byId(`nav-${mode}`).textContent.trim()}.`;
  }

  function nameControls() {
    // Gradio writes the name of a group of radio buttons beside it, not as its name,
    for (const group of document.querySelectorAll("#form fieldset:not([aria-label])")) {
      const name = group.querySelector("[data-testid=block-info]");
      if (name) group.setAttribute("aria-label", name.textContent.trim());
    }
    // and gives a button for uploads a name that says neither its text nor what it is for.
    for (const upload of document.querySelectorAll("#form .upload-container:not([data-named])")) {
      const name = upload.closest(".block")?.querySelector("[data-testid=block-label]");
      const texts = [name, upload].map((one) => one?.textContent.replace(/\s+/g, " ").trim());
      upload.setAttribute("aria-label", texts.filter(Boolean).join(": "));
      upload.dataset.named = "";
    }
  }

  function dressForm() {
    nameControls();
    studio.seed.dress();
    studio.crop.draw();
  }

  function onKey(event) {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    const buttons = [...document.querySelectorAll("#form button.generate")];
    buttons.find((one) => one.offsetParent)?.click();
  }

  function onPointer(event) {
    const box = event.target.closest?.(".number textarea, .number input");
    if (box) box.inputMode = "decimal"; // the keyboard of a phone
  }

  function onVisible() {
    if (document.hidden) return;
    studio.jobs.watch();
    if (studio.job.current.id) studio.job.watch();
  }

  function onBack() {
    openAddressed();
    pressMode(addressedMode());
  }

  function showForm(mode) {
    if (byId(`tab-${mode}`)) document.documentElement.classList.add("form-ready");
    else requestAnimationFrame(() => showForm(mode));
  }

  function start() {
    new MutationObserver(dressForm).observe(byId("form"), { childList: true, subtree: true });
    dressForm();
    studio.shell.start();
    studio.welcome.start();
    studio.crop.start(byId("form"));
    studio.signs.start();
    byId("jobs-more").addEventListener("click", studio.jobs.showOlder);
    addEventListener("popstate", onBack);
    document.addEventListener("visibilitychange", onVisible);
    document.addEventListener("keydown", onKey);
    document.addEventListener("pointerdown", onPointer, true);
    studio.gallery.start();
    studio.restore.start();
    openRunning();
    openAddressed();
    const unknown = forgetUnknownMode();
    const update = choose(addressedMode());
    byId("notice").textContent = unknown;
    showForm(addressedMode());
    return update;
  }

  return { start, go, count, answered };
})());
