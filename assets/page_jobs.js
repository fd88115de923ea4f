// The list of the visitor's jobs.
studio.jobs = (() => {
  "use strict";

  const { byId, make, fill, ask, button, chip, reveal, timeOf } = studio.dom;
  const LIVE_MS = 2000;
  const HIDDEN_MS = 5000; // for the title and the notification
  const IDLE_MS = 15000; // jobs of other tabs

  const list = { rows: new Map(), items: new Map(), next: null, older: false };
  let timer, turns = 0; // of overlapping looks only the last counts

  async function watch() {
    clearTimeout(timer);
    const turn = ++turns;
    try {
      const answer = await ask("jobs");
      if (!list.older) list.next = answer.next;
      showRows([...answer.jobs, ...await ended(answer.jobs)]);
    } catch { /* the next look will tell */ }
    if (turn !== turns) return;
    const live = [...list.rows.values()].some((job) => job.live);
    // A hidden tab with nothing to wait for looks again when somebody looks at it.
    if (live || !document.hidden) timer = setTimeout(watch, pause(live));
  }

  function pause(live) {
    if (!live) return IDLE_MS;
    return document.hidden ? HIDDEN_MS : LIVE_MS;
  }

  function ended(jobs) {
    // Old jobs are listed while they wait or run; once they have ended each is asked for.
    const listed = new Set(jobs.map((job) => job.id));
    const gone = [...list.rows.values()].filter((job) => job.live && !listed.has(job.id));
    return Promise.all(gone.map((job) => ask(`jobs/${job.id}`)))
      .then((answers) => answers.filter((job) => job.ok));
  }

  async function showOlder() {
    const answer = await ask(`jobs?before=${encodeURIComponent(list.next)}`);
    Object.assign(list, { older: true, next: answer.next });
    showRows(answer.jobs);
  }

  function showRows(jobs) {
    const ended = jobs.filter(note);
    jobs.forEach(studio.signs.see);
    if (ended.length) studio.gallery.refresh();
    const all = [...list.rows.values()].sort(order);
    const items = all.map(row);
    keepingFocus(() => fill(byId("jobs"), all.map((job) => job.id), () => items));
    byId("jobs-empty").hidden = all.length > 0;
    byId("jobs-more").hidden = !list.next;
    mark();
  }

  // What runs, the queue as it will be run, then what has ended, newest first.
  function order(one, other) {
    const rank = (job) => (job.state === "running" ? 0 : job.live ? 1 : 2);
    return rank(one) - rank(other) || (one.position || 0) - (other.position || 0)
      || other.serial - one.serial;
  }

  function keepingFocus(change) {
    const focused = document.activeElement;
    change();
    if (focused !== document.activeElement && focused.isConnected) {
      focused.focus({ preventScroll: true });
    }
  }

  // Whether it has ended since the last look at it, here or where the job is shown.
  function note(job) {
    const ended = !job.live && list.rows.get(job.id)?.live !== false;
    list.rows.set(job.id, job);
    return ended;
  }

  function row(job) {
    // Made once, so that a row keeps the focus while its job goes on.
    if (!list.items.has(job.id)) list.items.set(job.id, emptyRow(job));
    const item = list.items.get(job.id);
    const place = job.position ? `number ${job.position}`
      : job.state === "running" ? `${job.percent} %` : timeOf(job.created);
    const [link, orders] = item.children;
    fill(link, [job.state, place], () => [
      chip(job),
      make("span", { className: "tag", textContent: job.tag }),
      make("span", { className: "name", textContent: job.prompt }),
      make("span", { className: "meta", textContent: place }),
    ]);
    fill(orders, [job.live, job.state], () => (job.live ? ordersFor(job) : []));
    return item;
  }

  function emptyRow(job) {
    const link = make("a", { href: `?mode=${job.mode}&job=${job.id}` });
    link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return; // another tab
      event.preventDefault();
      studio.job.open(job.id);
      reveal(byId("job-title"));
    });
    return make("li", { data: { id: job.id } }, link, make("span", { className: "orders" }));
  }

  function ordersFor(job) {
    const order = (sign, label, what) => button(sign, () => give(job, what), {
      className: "plain small", title: label, ariaLabel: `${label}: ${job.prompt}` });
    return [
      ...(job.state === "queued" ? [order("↑", "Sooner", "move/sooner"),
        order("↓", "Later", "move/later")] : []),
      order("×", "Cancel", "cancel"),
    ];
  }

  async function give(job, what) {
    try {
      const answer = await ask(`jobs/${job.id}/${what}`, "POST");
      if (!answer.ok) studio.actions.say(answer.error);
    } catch {
      studio.actions.say("The studio does not answer. Try again in a moment.");
    }
    await watch();
    if (studio.job.current.id === job.id) studio.job.watch();
  }

  function mark(id = studio.job.current.id) {
    for (const item of byId("jobs").children) {
      const link = item.firstElementChild;
      if (item.dataset.id === id) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  }

  function see(job) {
    // The job that is looked at is asked for more often than the list.
    if (!list.rows.has(job.id)) return;
    if (note(job)) studio.gallery.refresh();
    row(job);
  }

  // Of the newest job of a mode; null where there is none.
  function lastSeed(mode) {
    const made = [...list.rows.values()].filter((job) => job.mode === mode && !job.live);
    made.sort((one, other) => other.serial - one.serial);
    return made[0]?.seed ?? null;
  }

  const running = () => [...list.rows.values()].find((job) => job.state === "running");

  return { watch, see, mark, running, lastSeed, showOlder };
})();
