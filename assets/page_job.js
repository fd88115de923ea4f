// The job that is looked at: fetched while it lives, drawn with its results.
studio.job = (() => {
  "use strict";

  const { root, byId, make, fill, ask, button, chip, address, duration } = studio.dom;
  const RUNNING_MS = 500;
  const WAITING_MS = 2000;
  const HIDDEN_MS = 5000; // nobody looks at the tab

  const current = { id: null, mode: null, parts: null, live: false };
  let troubled = false;
  let timer, turns = 0; // of overlapping looks only the last counts

  const EMPTY = "What you make appears here. Jobs go on when you close the page.";
  const PARTS = ["head", "progress", "actions", "said", "failure", "preview", "items", "notes"];

  function open(id, push = true) {
    if (push) address("job", id);
    Object.assign(current, { id, mode: null, live: false });
    const parts = PARTS.map((name) => make("div", { className: `job-${name}` }));
    byId("job").replaceChildren(...parts);
    current.parts = Object.fromEntries(PARTS.map((name, index) => [name, parts[index]]));
    studio.jobs.mark(id);
    return watch();
  }

  function close() {
    clearTimeout(timer);
    turns++;
    Object.assign(current, { id: null, mode: null, parts: null });
    byId("job").replaceChildren(make("p", { className: "quiet", textContent: EMPTY }));
    announce("");
    studio.jobs.mark();
  }

  async function watch() {
    clearTimeout(timer);
    const turn = ++turns;
    const id = current.id;
    let wait = WAITING_MS;
    try {
      const job = await ask(`jobs/${encodeURIComponent(id)}`);
      if (turn !== turns) return;
      if (!job.ok) return showUnknown(job.error);
      if (troubled) say("");
      troubled = false;
      show(job);
      if (!job.live) return studio.jobs.watch();
      wait = job.state === "running" ? RUNNING_MS : WAITING_MS;
    } catch {
      troubled = true;
      say("The studio does not answer. Trying again …");
    }
    if (turn !== turns) return;
    timer = setTimeout(watch, document.hidden ? HIDDEN_MS : wait);
  }

  function showUnknown(sentence) {
    byId("job").replaceChildren(make("p", { className: "quiet", textContent: sentence }));
    announce(sentence);
  }

  function show(job) {
    const parts = current.parts;
    current.mode = job.mode;
    studio.jobs.see(job);
    studio.signs.see(job);
    fill(parts.head, [job.title, job.tag, job.prompt, job.state, job.stateLabel], () => [
      make("p", { className: "line" }, chip(job), make("strong", { textContent: job.title })),
      make("p", { className: "prompt", textContent: job.prompt }),
    ]);
    fill(parts.progress, progressOf(job), buildProgress);
    fill(parts.preview, [job.live, job.preview], () => [
      job.live && job.preview && make("img", {
        src: `${root}preview/${job.id}?${job.preview}`, alt: "What it looks like so far" }),
    ]);
    fill(parts.actions, [job.id, job.live, job.stopping, job.canRerun, job.failure], () => actions(job));
    fill(parts.failure, [job.state, job.failure], () => [
      job.failure && failureCard(job.failure),
      job.state === "interrupted" && !job.failure && make("div", { className: "card warning" }, make("p", {
        textContent: "The studio was stopped while this was being made." })),
    ]);
    showResults(job);
    fill(parts.notes, job.notes, sentences);
    announce(statusOf(job));
    if (!job.live) say("");
    // Only whoever has waited for it: an old failure must not cost anybody's quota.
    if (current.live && job.failure && job.failure.retries) rerun(job.id, null, true);
    current.live = job.live;
  }

  function progressOf(job) {
    if (!job.live) return null;
    const stage = job.progress;
    const step = stage && stage.steps ? `, step ${stage.step} of ${stage.steps}` : "";
    const where = stage
      ? `Stage ${stage.stage} of ${stage.stages}: ${stage.label}${step}`
      : job.position ? `Number ${job.position} in the queue` : "Getting ready";
    const times = [job.elapsed !== null && duration(job.elapsed), job.left];
    return { percent: job.percent, where, times: times.filter(Boolean).join(" · "),
      memory: job.memory };
  }

  function buildProgress(progress) {
    if (!progress) return [];
    const bar = make("progress", { max: 100, value: progress.percent });
    bar.setAttribute("aria-label", "Progress");
    return [bar, make("p", { className: "line meta" },
      make("span", { textContent: progress.where }),
      make("span", { textContent: progress.times })),
    progress.memory && make("p", { className: "meta", textContent: progress.memory })];
  }

  function actions(job) {
    if (job.live) {
      const label = job.stopping ? "Stopping …" : "Cancel";
      return [button(label, () => act(job.id, "cancel"), { disabled: job.stopping })];
    }
    const label = job.failure && job.failure.longer
      ? "Run again with twice the GPU time" : "Run again";
    return job.canRerun ? [button(label, () => rerun(job.id))] : [];
  }

  async function rerun(id, item = null, byItself = false) {
    await studio.gpu.visit();
    return act(id, item === null ? "rerun" : `rerun?item=${item}`, byItself);
  }

  async function act(id, what, byItself = false) {
    try {
      const answer = await ask(`jobs/${encodeURIComponent(id)}/${what}`, "POST");
      // By itself, another tab may have been first.
      if (!byItself) say(answer.error || answer.sentence || "");
    } catch {
      say("The studio does not answer. Try again in a moment.");
    }
    watch();
    studio.jobs.watch();
  }

  function say(sentence) {
    if (current.parts) fill(current.parts.said, sentence, () => [
      sentence && make("p", { className: "meta", role: "status", textContent: sentence })]);
  }

  function announce(sentence) {
    const status = byId("job-status");
    if (status.textContent !== sentence) status.textContent = sentence;
  }

  function statusOf(job) {
    // Without steps: a screen reader should not count.
    if (job.progress) return `${job.stateLabel}: ${job.progress.label}`;
    return `${job.title}: ${job.stateLabel}`;
  }

  function failureCard(failure) {
    const card = make("div", { className: "card failed" },
      make("p", {}, make("strong", { textContent: failure.sentence })));
    if (failure.stage) {
      card.append(make("p", { className: "meta", textContent: `Stage: ${failure.stage}` }));
    }
    if (failure.links.length) {
      card.append(make("p", { className: "line" }, ...failure.links.map(([textContent, href]) =>
        make("a", { href, textContent, target: "_blank", rel: "noopener" }))));
    }
    if (failure.details) {
      card.append(make("details", {}, make("summary", { textContent: "Details" }),
        make("pre", { textContent: failure.details })), copyButton(failure));
    }
    return card;
  }

  // For whoever asks somebody about it.
  function copyButton(failure) {
    const text = [failure.sentence, failure.stage && `Stage: ${failure.stage}`, failure.details];
    const copy = async () => {
      try {
        await navigator.clipboard.writeText(text.filter(Boolean).join("\n\n"));
        copied.textContent = "Copied";
      } catch { // only on localhost and over HTTPS is there a clipboard
        copied.textContent = "Open the details and copy them from there";
      }
    };
    const copied = button("Copy the details", copy);
    return copied;
  }

  // Results

  function showResults(job) {
    const place = current.parts.items;
    place.classList.toggle("grid", job.items.length > 1);
    while (place.children.length < job.items.length) {
      place.append(make("figure", { className: "result" }));
    }
    for (const item of job.items) {
      const figure = place.children[item.index];
      figure.dataset.state = item.state;
      fill(figure, [item, job.live], () => result(job, item));
    }
  }

  function result(job, item) {
    const name = item.name || `Number ${item.index + 1}`;
    const many = job.items.length > 1;
    return [
      many && make("figcaption", { className: "line" }, chip(item),
        make("span", { className: "name", textContent: name, title: name })),
      // The only item's failure is the job's, which has its card already.
      many && item.failure && failureCard(item.failure),
      many && !job.live && item.state !== "done" &&
        button("Try this one again", () => rerun(job.id, item.index)),
      item.gone && make("p", { className: "note", textContent: "This file was deleted." }),
      item.url && media(job, item),
      item.url && facts(job, item),
      item.url && studio.actions.row(studio.actions.madeOf(job, item)),
      ...sentences(item.findings, "card warning"),
      ...sentences(item.notes),
    ];
  }

  function media(job, item) {
    const src = root + item.url;
    if (item.kind === "video") {
      return make("video", { src, controls: true, loop: true, playsInline: true,
        preload: "metadata", ariaLabel: `Video: ${job.prompt}` });
    }
    if (item.before) return studio.compare(root + item.before, src, item);
    const picture = make("img", { src, alt: job.prompt, loading: "lazy" });
    return make("a", { href: src, target: "_blank", rel: "noopener" }, picture);
  }

  function facts(job, item) {
    const weights = item.demo ? "demo weights, not the real model" : item.weights;
    const rows = {
      Seed: item.seed,
      Size: item.width ? `${item.width} x ${item.height}` : null,
      Length: item.seconds ? `${item.seconds.toFixed(2)} s at ${item.fps} frames a second` : null,
      Preset: job.preset,
      "Made with": [item.engine, weights].filter(Boolean).join(", "),
      Took: duration(item.took),
      "Of that": item.stages.map((one) => `${one.label} ${duration(one.seconds)}`).join(" · "),
    };
    const list = make("dl", { className: "facts" });
    for (const [name, value] of Object.entries(rows)) {
      if (value === null || value === "") continue;
      list.append(make("dt", { textContent: name }), make("dd", { textContent: value }));
    }
    return make("div", { className: "about" }, list);
  }

  const sentences = (texts, className = "note") =>
    texts.map((textContent) => make("p", { className, textContent }));

  return { current, open, close, watch };
})();
