// Over a picture that a clip is made from: what of it will be seen, and what is cut off.
studio.crop = (() => {
  "use strict";

  const { make } = studio.dom;
  const LEAST = 0.02; // of a side; less comes from sides in multiples, and is said nowhere

  function draw() {
    for (const upload of document.querySelectorAll("#form .cropped")) {
      const picture = upload.querySelector("img");
      const frame = upload.querySelector(".crop");
      const box = picture?.complete && picture.naturalWidth ? kept(picture, sizeOf(upload)) : null;
      if (!box) frame?.remove();
      else place(frame ?? picture.parentElement.appendChild(
        make("div", { className: "crop", ariaHidden: "true" })), box);
    }
  }

  // Width and height of the result, as the line of numbers says.
  function sizeOf(upload) {
    const figures = upload.closest(".tabitem")?.querySelector(".read-out [data-size]");
    return figures?.dataset.size.split("x").map(Number);
  }

  // The middle of the picture, in pixels of the page; null where nothing to speak of is cut off.
  function kept(picture, size) {
    if (!size || !picture.offsetWidth) return null;
    const { naturalWidth: width, naturalHeight: height } = picture;
    const part = Math.min(width / size[0], height / size[1]);
    const [across, down] = [size[0] * part, size[1] * part];
    if (across / width > 1 - LEAST && down / height > 1 - LEAST) return null;
    // Gradio fits the picture into its element; where it is smaller it stays as it is.
    const fits = Math.min(picture.clientWidth / width, picture.clientHeight / height);
    const scale = getComputedStyle(picture).objectFit === "scale-down" ? Math.min(1, fits) : fits;
    return {
      left: picture.offsetLeft + (picture.clientWidth - across * scale) / 2,
      top: picture.offsetTop + (picture.clientHeight - down * scale) / 2,
      width: across * scale,
      height: down * scale,
      // What is cut off is darkened, and nothing beside the picture.
      clip: [height - down, width - across].map((cut) => `${(-cut * scale) / 2 - 1}px`).join(" "),
    };
  }

  function place(frame, box) {
    const { clip, ...place } = box;
    for (const [name, value] of Object.entries(place)) frame.style[name] = `${value}px`;
    frame.style.clipPath = `inset(${clip})`;
  }

  function start(form) {
    form.addEventListener("load", draw, true); // pictures do not tell their parents
    addEventListener("resize", draw);
  }

  return { start, draw };
})();
