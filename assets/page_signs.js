// What tells of jobs beyond the page: the tab's title and icon, a notification, a tone.
studio.signs = (() => {
  "use strict";

  const { byId, recall, remember } = studio.dom;
  const TITLE = "AIO Studio";
  const LONG_SECONDS = 20;
  const HOLD_MS = 10000; // a hidden tab looks every five seconds
  const ROUND = 56.55; // the circle in the icon, with a radius of 9
  const COLOURS = { running: "#e0a458", done: "#9fd3a8", failed: "#f4a6a8" };
  const ENDINGS = { done: "Done", failed: "Failed", interrupted: "Interrupted" };

  const live = new Map(); // of this visitor's jobs, by id
  let ended = null; // how the last one ended, until somebody looks

  function see(job) {
    const was = live.get(job.id);
    if (job.live) live.set(job.id, job);
    else live.delete(job.id);
    if (was && !job.live) onEnd(job);
    draw();
  }

  async function onEnd(job) {
    if (!(job.state in ENDINGS)) return; // the visitor has cancelled it
    if (away()) ended = job.state === "done" ? "done" : "failed";
    if (job.elapsed === null || job.elapsed <= LONG_SECONDS || !(await isFirst(job))) return;
    if (wants("tone")) playTone();
    if (away() && wants("notify") && permission() === "granted") notify(job);
  }

  // Of several tabs only one tells. A job that runs again ends after another time.
  function isFirst(job) {
    const end = `${job.id} ${job.elapsed}`;
    // Browsers have locks on localhost and over HTTPS.
    if (!navigator.locks) return claim(end);
    // Held until other tabs have looked: what one writes, they may read a moment later.
    return new Promise((tell) => {
      navigator.locks.request(`aio.told ${end}`, { ifAvailable: true }, (lock) => {
        const first = lock !== null && claim(end);
        tell(first);
        return first && new Promise((done) => setTimeout(done, HOLD_MS));
      });
    });
  }

  function claim(end) {
    if (recall("told") === end) return false;
    remember("told", end);
    return true;
  }

  // The title and the icon

  function draw() {
    const running = [...live.values()].find((job) => job.state === "running");
    const lead = running ? `${running.percent} %` : live.size ? "Waiting" : ENDINGS[ended];
    const title = lead ? `${lead} · ${TITLE}` : TITLE;
    if (document.title !== title) document.title = title;
    drawIcon(running ? "running" : ended, running ? running.percent : 100);
  }

  function drawIcon(state, percent) {
    const icon = document.querySelector("link[rel~=icon]")
      || document.head.appendChild(Object.assign(document.createElement("link"), { rel: "icon" }));
    const key = `${state} ${percent}`;
    if (icon.dataset.shows === key) return;
    icon.dataset.shows = key;
    icon.type = "image/svg+xml";
    icon.href = `data:image/svg+xml,${encodeURIComponent(ring(state, percent))}`;
  }

  function ring(state, percent) {
    const circle = (colour, dash = "") => `<circle cx="16" cy="16" r="9" fill="none" stroke="${
      colour}" stroke-width="5" ${dash} transform="rotate(-90 16 16)"/>`;
    const dash = `stroke-dasharray="${ROUND * percent / 100} ${ROUND}"`;
    return '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">'
      + '<rect width="32" height="32" rx="7" fill="#12161b"/>'
      + (state === "running" ? circle("#4a4f58") : "")
      + circle(COLOURS[state] || COLOURS.running, dash) + "</svg>";
  }

  // Notification and tone, each with a switch in the drawer

  const away = () => document.hidden || !document.hasFocus();
  const wants = (name) => recall(name) === "on";
  // Browsers have notifications only on localhost and over HTTPS.
  const permission = () => "Notification" in window && isSecureContext
    ? Notification.permission : "missing";

  const NOTES = {
    denied: "The browser blocks notifications of this page: allow them in its site settings.",
    missing: "This needs the page over HTTPS, or on the machine itself.",
  };

  function notify(job) {
    const sign = new Notification(`${ENDINGS[job.state]}: ${job.tag}`, {
      body: job.prompt.slice(0, 120), tag: job.id });
    sign.onclick = () => {
      window.focus();
      studio.job.open(job.id);
      sign.close();
    };
  }

  function playTone() {
    const audio = new AudioContext();
    const volume = new GainNode(audio, { gain: 0 });
    volume.connect(audio.destination);
    volume.gain.setTargetAtTime(0.15, audio.currentTime, 0.01);
    volume.gain.setTargetAtTime(0, audio.currentTime + 0.35, 0.08);
    const note = new OscillatorNode(audio, { frequency: 659.26 });
    note.frequency.setValueAtTime(880, audio.currentTime + 0.18);
    note.connect(volume);
    note.onended = () => audio.close();
    note.start();
    note.stop(audio.currentTime + 0.9);
  }

  function showSwitches() {
    byId("tone").checked = wants("tone");
    const state = permission();
    byId("notify").checked = wants("notify") && state === "granted";
    byId("notify").disabled = state === "missing";
    byId("notify-note").textContent = NOTES[state] || "";
  }

  async function onNotify() {
    const wanted = byId("notify").checked;
    if (wanted && permission() === "default") await Notification.requestPermission();
    remember("notify", wanted && permission() === "granted" ? "on" : "off");
    showSwitches();
  }

  function onTone() {
    const wanted = byId("tone").checked;
    remember("tone", wanted ? "on" : "off");
    if (wanted) playTone();
  }

  function onLook() {
    if (away() || !ended) return;
    ended = null;
    draw();
  }

  function start() {
    showSwitches();
    draw();
    byId("notify").addEventListener("change", onNotify);
    byId("tone").addEventListener("change", onTone);
    addEventListener("storage", showSwitches);
    addEventListener("focus", onLook);
    document.addEventListener("visibilitychange", onLook);
  }

  return { start, see };
})();
