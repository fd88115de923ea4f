// The orders beside a seed: drawn anew for every job, or kept from the last result.
studio.seed = (() => {
  "use strict";

  const { make, button } = studio.dom;

  function dress() {
    for (const box of document.querySelectorAll('#form .number[id$="-seed"]:not([data-dressed])')) {
      box.dataset.dressed = "";
      const mode = box.id.replace(/-seed$/, "");
      box.append(make("span", { className: "seed-orders" },
        button("Random", () => write(box, ""), { title: "Draw a new seed for every job" }),
        button("Keep", () => keep(box, mode), { title: "Use the seed of the last result again" })));
    }
  }

  function keep(box, mode) {
    const seed = studio.jobs.lastSeed(mode);
    if (seed === null) return studio.actions.say("Nothing was made here yet that has a seed.");
    write(box, String(seed));
  }

  function write(box, value) {
    const input = box.querySelector("input, textarea");
    input.value = value;
    input.dispatchEvent(new Event("input", { bubbles: true })); // Gradio listens to it
  }

  return { dress };
})();
