// What the other scripts of the page build with. Everything shown of a job is set as text:
// prompts and file names may contain HTML.
window.studio = {};

studio.dom = (() => {
  "use strict";

  const root = location.pathname.replace(/\/?$/, "/");
  const byId = (id) => document.getElementById(id);

  function make(tag, properties = {}, ...children) {
    const { data = {}, ...rest } = properties;
    const element = Object.assign(document.createElement(tag), rest);
    for (const [name, value] of Object.entries(data)) element.dataset[name] = value;
    element.append(...children.filter((child) => child !== null && child !== undefined));
    return element;
  }

  function fill(place, value, build) {
    // Rebuilt only when it has changed, so that a video plays on and the focus stays.
    const key = JSON.stringify(value);
    if (place.filledWith === key) return;
    place.filledWith = key;
    place.replaceChildren(...build(value).filter(Boolean));
  }

  async function ask(path, method = "GET") {
    const response = await fetch(root + path, { method, headers: { Accept: "application/json" } });
    const answer = await response.json();
    return { ok: response.ok, ...answer };
  }

  const button = (textContent, onclick, more = {}) =>
    make("button", { type: "button", className: "plain", textContent, onclick, ...more });

  const chip = (job) => make("span", {
    className: "chip", textContent: job.stateLabel, data: { state: job.state } });

  function address(name, value, how = "pushState") {
    const url = new URL(location.href);
    url.searchParams.set(name, value);
    if (url.href !== location.href) history[how]({}, "", url);
  }

  // A browser may refuse a frame of another site its storage: then it holds until the page goes.
  const refused = new Map();

  function recall(name) {
    try {
      return localStorage.getItem(`aio.${name}`);
    } catch {
      return refused.get(name) ?? null;
    }
  }

  function remember(name, value) {
    try {
      localStorage.setItem(`aio.${name}`, value);
    } catch {
      refused.set(name, value);
    }
  }

  const addressed = (name) => new URLSearchParams(location.search).get(name);

  function reveal(element) {
    const box = element.getBoundingClientRect();
    if (box.top >= 0 && box.bottom <= innerHeight) return;
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    element.scrollIntoView({ block: "start", behavior: calm ? "auto" : "smooth" });
  }

  function duration(seconds) {
    if (seconds < 10) return `${seconds.toFixed(1)} s`;
    const whole = Math.round(seconds);
    if (whole < 60) return `${whole} s`;
    return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, "0")} s`;
  }

  function timeOf(seconds) {
    const date = new Date(seconds * 1000);
    const today = date.toDateString() === new Date().toDateString();
    return date.toLocaleString([], today
      ? { hour: "2-digit", minute: "2-digit" }
      : { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
  }

  return { root, byId, make, fill, ask, button, chip, address, addressed, recall, remember, reveal,
    duration, timeOf };
})();
