// The frame: the drawer, which below 1024 pixels lies over the page, and the help.
studio.shell = (() => {
  "use strict";

  const { byId, reveal } = studio.dom;
  const pinned = matchMedia("(min-width: 1024px)");
  let open = false;

  function openDrawer() {
    set(true);
    (byId("nav").querySelector("[aria-current]") || reachable()[1]).focus();
  }

  function closeDrawer() {
    if (!open) return;
    set(false);
    byId("menu").focus();
  }

  function set(wanted) {
    open = wanted && !pinned.matches;
    const menu = byId("menu");
    menu.setAttribute("aria-expanded", open);
    document.documentElement.classList.toggle("drawer-open", open);
    byId("nav").inert = !open && !pinned.matches;
    for (const id of ["form", "result"]) byId(id).inert = open;
  }

  // The button that opens the drawer stays above it and closes it again.
  const reachable = () => [byId("menu"),
    ...[...byId("nav").querySelectorAll("a[href], button, input, select, textarea")]
      .filter((one) => !one.disabled && one.offsetParent)];

  function keepFocus(event) {
    const all = reachable();
    const [first, last] = [all[0], all[all.length - 1]];
    const [edge, other] = event.shiftKey ? [first, last] : [last, first];
    if (all.includes(document.activeElement) && document.activeElement !== edge) return;
    event.preventDefault();
    other.focus();
  }

  function onKey(event) {
    if (event.key === "/" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      openHelp();
    }
    if (!open || byId("help").open) return;
    if (event.key === "Escape") closeDrawer();
    if (event.key === "Tab") keepFocus(event);
  }

  function goTo(id) {
    closeDrawer();
    const place = byId(id);
    if ("open" in place) place.open = true;
    const focused = place.querySelector("summary") || place;
    if (focused === place) place.tabIndex = -1;
    reveal(place);
    focused.focus({ preventScroll: true });
  }

  function openHelp() {
    if (!byId("help").open) byId("help").showModal();
  }

  function onHelpClick(event) {
    const { left, right, top, bottom } = byId("help").getBoundingClientRect();
    const outside = event.clientX < left || event.clientX > right
      || event.clientY < top || event.clientY > bottom;
    if (event.target === byId("help") && outside) byId("help").close();
  }

  function start() {
    const nav = byId("nav");
    nav.setAttribute("role", "navigation");
    nav.setAttribute("aria-label", "Modes and settings");
    set(false);
    byId("menu").addEventListener("click", () => (open ? closeDrawer() : openDrawer()));
    byId("scrim").addEventListener("click", closeDrawer);
    byId("help-open").addEventListener("click", openHelp);
    byId("help").addEventListener("click", onHelpClick);
    for (const link of document.querySelectorAll("[data-place]")) {
      link.addEventListener("click", () => goTo(link.dataset.place));
    }
    pinned.addEventListener("change", () => set(false));
    document.addEventListener("keydown", onKey);
  }

  return { start, closeDrawer };
})();
