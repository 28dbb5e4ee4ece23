// What a page can do beside being read: values under the pointer, zoom, lines shown and hidden, pictures enlarged.
// Charts and tables are complete without it; nothing is fetched, and every text is set as text.
"use strict";

const STEP = 0.01; // of the axis, that an arrow key moves
const FINEST = 200; // radii are told in steps of a power of ten, at most this part of what is shown

function made(name, attributes, text) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

function drawn(name, attributes, parent) {
  const element = document.createElementNS(parent.namespaceURI, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  parent.append(element);
  return element;
}

const MARKERS = { o: "●", s: "■", "^": "▲", D: "◆", v: "▼", P: "✚", X: "✖" };

// The words for a line's value at x: each holds from its own x on.
function toldAt(line, x) {
  let k = line.x.length - 1;
  while (k >= 0 && line.x[k] > x) k--;
  return line.told[k];
}

function roundStep(rough) {
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
}

function explore(svg) {
  const chart = JSON.parse(svg.dataset.chart);
  const [left, top, right, bottom] = chart.box;
  const whole = chart.x;
  let range = whole;
  let looked = null;
  const groups = [...svg.querySelectorAll("[data-series]")];
  const shown = chart.series.map((line) => !line.behind);
  // A line is a path, a marker a shape used at its place, a band a shape in its place, used at 0.
  const isBand = (group) => [...group.querySelectorAll("use")].some((use) => Number(use.getAttribute("x")) === 0);
  const places = groups
    .flatMap((group) => [...group.querySelectorAll(isBand(group) ? "path" : "use, path:not(defs path)")])
    .map((element) => ({ element, d: element.getAttribute("d"), x: Number(element.getAttribute("x")) }));

  const toPixel = (x) => left + ((x - range[0]) / (range[1] - range[0])) * (right - left);
  const toValue = (pixel) => range[0] + ((pixel - left) / (right - left)) * (range[1] - range[0]);
  const moved = (pixel) => toPixel(whole[0] + ((pixel - left) / (right - left)) * (whole[1] - whole[0]));

  const panel = made("div", { class: "controls" });
  const told = made("output", { "aria-live": "polite" });
  const buttons = made("div");
  const toggles = made("div", { role: "group", "aria-label": "lines shown" });
  const wanted = made("p", {}, "Point at the chart for values; drag along it to zoom in. Lines:");
  panel.append(told, buttons, wanted, toggles);
  svg.after(panel);

  chart.series.forEach((line, number) => {
    const label = made("label");
    const box = made("input", { type: "checkbox" });
    box.checked = shown[number];
    const key = made("span", { class: line.dash === "-" ? "key" : "key dashed" });
    key.style.borderColor = line.colour;
    box.addEventListener("change", () => {
      shown[number] = box.checked;
      for (const group of groups) {
        if (Number(group.dataset.series) === number) group.setAttribute("display", box.checked ? "inline" : "none");
      }
      look(looked);
    });
    const marker = made("span", { "aria-hidden": "true" }, `${MARKERS[line.marker] || ""} `);
    marker.style.color = line.colour;
    label.append(box, key, marker, line.label);
    toggles.append(label);
  });

  const ticks = drawn("g", {}, svg);
  const cursor = drawn("path", { class: "cursor" }, svg);
  const selection = drawn("rect", { class: "selection", y: top, height: bottom - top, width: 0 }, svg);

  // A radius of few digits within the range: the values that are told are those at the radius that is told.
  function rounded(x) {
    const step = 10 ** Math.floor(Math.log10((range[1] - range[0]) / FINEST));
    const [low, high] = [Math.ceil(range[0] / step), Math.floor(range[1] / step)];
    return Number((Math.min(high, Math.max(low, Math.round(x / step))) * step).toPrecision(12));
  }

  function look(place) {
    const outside = place === null || place < range[0] || place > range[1];
    const x = outside ? place : rounded(place);
    looked = x;
    if (outside) {
      cursor.removeAttribute("d");
      told.textContent = "";
      return;
    }
    const at = toPixel(x);
    cursor.setAttribute("d", `M ${at} ${top} L ${at} ${bottom}`);
    const values = chart.series
      .map((line, number) => [line.label, toldAt(line, x), shown[number]])
      .filter(([, words, visible]) => visible && words !== undefined)
      .map(([label, words]) => `${label} ${words}`);
    told.textContent = `at ${x}: ${values.join(", ")}`;
  }

  function zoom(low, high) {
    const least = (whole[1] - whole[0]) / 1000;
    if (!(high - low > least)) return;
    range = [Math.max(whole[0], low), Math.min(whole[1], high)];
    const zoomed = range[0] > whole[0] || range[1] < whole[1];
    for (const { element, d, x } of places) {
      if (element.localName === "use") {
        element.setAttribute("x", moved(x));
      } else {
        element.setAttribute("d", d.replace(/(-?[\d.]+) (-?[\d.]+)/g, (_, px, py) => `${moved(Number(px))} ${py}`));
      }
    }
    const original = [...svg.querySelectorAll(".tick")];
    for (const tick of original) tick.setAttribute("display", zoomed ? "none" : "inline");
    ticks.replaceChildren();
    if (zoomed) {
      const step = roundStep((range[1] - range[0]) / 6);
      const text = original[0].querySelector("text");
      for (let k = Math.ceil(range[0] / step); k * step <= range[1]; k++) {
        const at = toPixel(k * step);
        drawn("path", { class: "grid", d: `M ${at} ${top} L ${at} ${bottom}` }, ticks);
        const word = drawn("text", { x: at, y: text.getAttribute("y"), style: text.getAttribute("style") }, ticks);
        word.textContent = String(Number((k * step).toPrecision(6)));
      }
    }
    look(looked);
  }

  function around(factor) {
    const middle = looked === null ? (range[0] + range[1]) / 2 : looked;
    const half = ((range[1] - range[0]) * factor) / 2;
    const low = Math.max(whole[0], Math.min(middle - half, whole[1] - 2 * half));
    zoom(low, Math.min(whole[1], low + 2 * half));
  }

  for (const [word, act] of [
    ["zoom in", () => around(0.5)],
    ["zoom out", () => around(2)],
    ["whole", () => zoom(...whole)],
  ]) {
    const button = made("button", { type: "button" }, word);
    button.addEventListener("click", act);
    buttons.append(button);
  }

  const pixelOf = (event) => new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse()).x;
  const inside = (pixel) => Math.min(right, Math.max(left, pixel));
  let begun = null;
  svg.addEventListener("pointerdown", (event) => {
    if (event.pointerType === "mouse") begun = inside(pixelOf(event));
  });
  svg.addEventListener("pointermove", (event) => {
    const pixel = inside(pixelOf(event));
    if (begun !== null) {
      selection.setAttribute("x", Math.min(begun, pixel));
      selection.setAttribute("width", Math.abs(pixel - begun));
    }
    look(toValue(pixel));
  });
  svg.addEventListener("pointerleave", () => look(null));
  window.addEventListener("pointerup", (event) => {
    if (begun === null) return;
    const pixel = inside(pixelOf(event));
    const [low, high] = [Math.min(begun, pixel), Math.max(begun, pixel)];
    begun = null;
    selection.setAttribute("width", 0);
    if (high - low > 4) zoom(toValue(low), toValue(high));
  });
  svg.addEventListener("dblclick", () => zoom(...whole));
  svg.setAttribute("tabindex", "0");
  svg.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -STEP, ArrowRight: STEP }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    const from = looked === null ? range[0] : looked;
    look(Math.min(range[1], Math.max(range[0], from + by * (range[1] - range[0]))));
  });
}

function enlargeable(image, dialog) {
  const open = () => {
    const large = made("img", { src: image.src, alt: image.alt });
    const figure = made("figure");
    const words = [...image.parentElement.childNodes].filter((node) => node !== image);
    const close = made("button", { type: "button" }, "close");
    close.addEventListener("click", () => dialog.close());
    const caption = made("figcaption");
    caption.append(...words.map((node) => node.cloneNode(true)));
    figure.append(large, caption, close);
    dialog.replaceChildren(figure);
    dialog.showModal();
  };
  image.setAttribute("role", "button");
  image.setAttribute("tabindex", "0");
  image.addEventListener("click", open);
  image.addEventListener("keydown", (event) => {
    if (event.key === "Enter") open();
  });
}

document.querySelectorAll("svg[data-chart]").forEach(explore);

const pictures = document.querySelectorAll("td.picture img");
if (pictures.length) {
  const dialog = made("dialog", { "aria-label": "enlarged picture" });
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  document.body.append(dialog);
  pictures.forEach((image) => enlargeable(image, dialog));
}

window.addEventListener("beforeprint", () => {
  for (const folded of document.querySelectorAll("details")) folded.open = true;
});
