// Before and after as one picture: a range over it moves the border, by pointer and by keys.
studio.compare = (() => {
  "use strict";

  const { make } = studio.dom;

  return function compare(before, after, item) {
    const old = make("img", { src: before, alt: `Before: ${item.name}`, className: "before" });
    const result = make("img", { src: after, alt: "After", className: "after" });
    const range = make("input", { type: "range", min: 0, max: 100, value: 50, step: 1,
      ariaLabel: "Border between before and after", className: "compare-range" });
    const place = make("div", { className: "compare" }, old, result,
      make("span", { className: "compare-line", ariaHidden: "true" }),
      make("span", { className: "compare-name", textContent: "Before", ariaHidden: "true" }),
      make("span", { className: "compare-name", textContent: "After", ariaHidden: "true" }), range);
    if (item.width) place.style.aspectRatio = `${item.width} / ${item.height}`;
    const show = () => {
      place.style.setProperty("--border", `${range.value}%`);
      range.setAttribute("aria-valuetext", `${range.value} % before, ${100 - range.value} % after`);
    };
    range.addEventListener("input", show);
    // A picture that browsers cannot show, HEIC for one, has nothing to compare with.
    old.onerror = () => { place.classList.add("alone"); range.remove(); old.remove(); };
    show();
    return make("div", { className: "compare-place" }, place, make("a", { href: after,
      target: "_blank", rel: "noopener", className: "note", textContent: "Open the result" }));
  };
})();
