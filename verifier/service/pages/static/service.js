// What a page can do beyond being read: numbers that run, charts, sorting, filters, files dropped.
// Everything it needs is in the page or comes from this server; without it the pages can still be read.
"use strict";

// ---- Theme: before anything is drawn ------------------------------------------------------------------------------

const THEMES = ["auto", "light", "dark"];

function themed() {
  try {
    return THEMES.includes(localStorage.getItem("theme")) ? localStorage.getItem("theme") : "auto";
  } catch {
    return "auto";
  }
}

document.documentElement.dataset.theme = themed();
document.documentElement.dataset.script = "yes";

function themeSwitch() {
  const button = document.getElementById("theme");
  const show = () => (button.textContent = `Theme: ${document.documentElement.dataset.theme}`);
  show();
  button.addEventListener("click", () => {
    const next = THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % THEMES.length];
    document.documentElement.dataset.theme = next;
    try {
      localStorage.setItem("theme", next);
    } catch {
      // not kept, then
    }
    show();
  });
}

// ---- Words and numbers: as wording.py has them ----------------------------------------------------------------------

const number = (held) =>
  held === null || held === undefined || held === "" ? NaN : held === "inf" ? Infinity : held === "-inf" ? -Infinity : Number(held);

function value(held) {
  const known = number(held);
  if (Number.isNaN(known)) return "–";
  if (!Number.isFinite(known)) return known > 0 ? "∞" : "−∞";
  if (known === 0) return "0";
  const size = Math.abs(known);
  const written = size < 1e-4 || size >= 9999.5 ? size.toExponential(3).replace(/e([+-])(\d)$/, "e$10$2") : size.toPrecision(4);
  return (known < 0 ? "−" : "") + written;
}

function gap(lower, upper) {
  const [low, high] = [number(lower), number(upper)];
  if (!(Number.isFinite(low) && Number.isFinite(high))) return low === high ? "0 %" : Number.isNaN(low) ? "–" : "open";
  const share = (high - low) / Math.max(Math.abs(high), 1e-12);
  return share <= 1e-4 ? "0 %" : share < 5e-4 ? "<0.1 %" : share < 10 ? `${(100 * share).toFixed(1)} %` : "open";
}

function duration(seconds) {
  const known = number(seconds);
  if (!Number.isFinite(known) || known === 0) return "–";
  if (known < 10) return `${known.toFixed(2)} s`;
  if (known < 60) return `${known.toFixed(0)} s`;
  if (known < 3600) return `${Math.floor(known / 60)} min ${String(Math.floor(known % 60)).padStart(2, "0")} s`;
  return `${Math.floor(known / 3600)} h ${String(Math.floor((known % 3600) / 60)).padStart(2, "0")} min`;
}

const remaining = (seconds) => (number(seconds) < 60 ? `${Math.ceil(number(seconds))} s` : duration(seconds));
const percent = (share) => `${(100 * share).toFixed(1)} %`;
const statusOf = (sample) => (sample.state === "done" ? sample.verdict || "waiting" : sample.state);
const going = (state) => state === "queued" || state === "running";

function setText(element, text) {
  if (element && element.textContent !== text) element.textContent = text;
}

let lastSaid = 0;

function say(text, now = false) {
  if (!now && Date.now() - lastSaid < 15000) return;
  lastSaid = Date.now();
  setText(document.getElementById("said"), text);
}

// ---- The interface --------------------------------------------------------------------------------------------------

class Refusal extends Error {}

async function told(answer) {
  if (answer.ok) return answer.status === 204 ? null : answer.json();
  let problem = {};
  try {
    problem = await answer.json();
  } catch {
    // no problem+json: the status must do
  }
  throw new Refusal(problem.detail || problem.title || `The server answered ${answer.status}; try again.`);
}

async function ask(path, method = "GET", body = undefined, headers = {}) {
  const sent = { "X-Plumbline": "1", ...headers };
  if (body !== undefined) sent["Content-Type"] = "application/json";
  try {
    return await told(await fetch(path, { method, headers: sent, body: body === undefined ? undefined : JSON.stringify(body) }));
  } catch (error) {
    throw error instanceof Refusal ? error : new Refusal("The server cannot be reached; see whether it is running.");
  }
}

async function everything(path, most) {
  const items = [];
  let cursor = null;
  do {
    const mark = cursor === null ? "" : `&cursor=${encodeURIComponent(cursor)}`;
    const answer = await ask(`${path}?limit=200${mark}`);
    items.push(...answer.items);
    cursor = answer.next;
  } while (cursor !== null && items.length < most);
  return items;
}

async function fragment(address) {
  const answer = await fetch(address, { headers: { "X-Plumbline": "1" } });
  if (!answer.ok) throw new Refusal(`The server answered ${answer.status}; load the page again.`);
  return new DOMParser().parseFromString(await answer.text(), "text/html").body.children;
}

function upload(path, files, progress) {
  return new Promise((kept, refused) => {
    const form = new FormData();
    for (const file of files) form.append("files", file, file.name);
    const request = new XMLHttpRequest(); // fetch does not tell how far an upload has come
    request.open("POST", path);
    request.setRequestHeader("X-Plumbline", "1");
    request.responseType = "json";
    request.upload.onprogress = (event) => event.lengthComputable && progress(event.loaded / event.total);
    request.onerror = () => refused(new Refusal("The server cannot be reached; see whether it is running."));
    request.onload = () => {
      const answer = request.response || {};
      if (request.status < 300) kept(answer);
      else refused(new Refusal(answer.detail || answer.title || `The server answered ${request.status}.`));
    };
    request.send(form);
  });
}

function complain(place, error) {
  const element = document.querySelector(`[data-problem="${place}"]`);
  element.hidden = error === null;
  setText(element, error === null ? "" : error.message);
}

// ---- Charts ---------------------------------------------------------------------------------------------------------

const SVG = "http://www.w3.org/2000/svg";
const EDGE = { left: 52, right: 14, top: 10, bottom: 38 };

function shape(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, held] of Object.entries(attributes)) made.setAttribute(key, held);
  if (text !== undefined) made.textContent = text;
  return made;
}

function ticks(low, high, about) {
  const rough = (high - low) / about;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough * 0.999);
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k += 1) found.push(Number((k * step).toPrecision(12)));
  return found;
}

function roundUp(high) {
  if (!(high > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(high));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((factor) => factor * power).find((candidate) => candidate >= high * 0.9999);
}

// A step chart: `series` hold [x, y] points, each value until the next x; `bands` lie between two of them.
class StepChart {
  constructor(figure, described) {
    this.svg = figure.querySelector("svg.plot");
    this.reading = figure.querySelector("[data-read]");
    this.described = described;
    this.at = null;
    this.drawn = 0;
    new ResizeObserver(() => this.soon()).observe(this.svg);
    this.svg.addEventListener("pointermove", (event) => this.look(this.toX(event.clientX)));
    this.svg.addEventListener("pointerleave", () => this.look(null));
    this.svg.addEventListener("blur", () => this.look(null));
    this.svg.addEventListener("keydown", (event) => this.step(event));
    this.soon();
  }

  soon() {
    if (!this.drawn) this.drawn = requestAnimationFrame(() => ((this.drawn = 0), this.draw()));
  }

  look(x) {
    this.at = x;
    this.soon();
  }

  step(event) {
    const moves = { ArrowLeft: -1, ArrowRight: 1 };
    if (!(event.key in moves) && event.key !== "Escape") return;
    event.preventDefault();
    const { x } = this.spec;
    const now = this.at === null ? x[0] : this.at;
    this.look(event.key === "Escape" ? null : Math.min(x[1], Math.max(x[0], now + (moves[event.key] * (x[1] - x[0])) / 50)));
  }

  toX(clientX) {
    const box = this.svg.getBoundingClientRect();
    const { x } = this.spec;
    const share = (clientX - box.left - EDGE.left) / (box.width - EDGE.left - EDGE.right);
    return x[0] + Math.min(1, Math.max(0, share)) * (x[1] - x[0]);
  }

  draw() {
    const spec = (this.spec = this.described());
    const width = this.svg.clientWidth;
    const height = this.svg.clientHeight;
    if (!width || !height) return;
    const px = (x) => EDGE.left + ((x - spec.x[0]) / (spec.x[1] - spec.x[0])) * (width - EDGE.left - EDGE.right);
    const py = (y) => {
      const share = (Math.min(spec.y[1], Math.max(spec.y[0], y)) - spec.y[0]) / (spec.y[1] - spec.y[0]);
      return height - EDGE.bottom - share * (height - EDGE.top - EDGE.bottom);
    };
    const steps = (points) => {
      const corners = [];
      points.forEach(([x, y], k) => {
        if (k) corners.push([x, points[k - 1][1]]);
        corners.push([x, y]);
      });
      if (points.length) corners.push([spec.x[2] ?? spec.x[1], points[points.length - 1][1]]);
      return corners.map(([x, y]) => [px(Math.min(x, spec.x[1])).toFixed(1), py(y).toFixed(1)].join(","));
    };
    const parts = [];
    for (const y of ticks(spec.y[0], spec.y[1], 4)) {
      parts.push(shape("line", { class: "grid", x1: EDGE.left, x2: width - EDGE.right, y1: py(y), y2: py(y) }));
      parts.push(shape("text", { class: "tick", x: EDGE.left - 6, y: py(y) + 4, "text-anchor": "end" }, spec.yTick(y)));
    }
    for (const x of ticks(spec.x[0], spec.x[1], width < 420 ? 4 : 6)) {
      parts.push(shape("text", { class: "tick", x: px(x), y: height - EDGE.bottom + 16, "text-anchor": "middle" }, spec.xTick(x)));
    }
    parts.push(shape("text", { class: "axis", x: width - EDGE.right, y: height - 5, "text-anchor": "end" }, spec.xLabel));
    for (const band of spec.bands) {
      parts.push(shape("polygon", { class: `band ${band.name}`, points: [...steps(band.high), ...steps(band.low).reverse()].join(" ") }));
    }
    for (const mark of spec.marks) {
      if (mark.x !== undefined) parts.push(shape("line", { class: "mark", x1: px(mark.x), x2: px(mark.x), y1: EDGE.top, y2: height - EDGE.bottom }));
      else parts.push(shape("line", { class: "mark", x1: EDGE.left, x2: width - EDGE.right, y1: py(mark.y), y2: py(mark.y) }));
      const at = mark.x !== undefined ? { x: px(mark.x) + 4, y: EDGE.top + 10 } : { x: EDGE.left + 4, y: py(mark.y) - 4 };
      parts.push(shape("text", { class: "tick", ...at }, mark.label));
    }
    for (const one of spec.series) {
      parts.push(shape("polyline", { class: `line ${one.name}`, points: steps(one.points.filter(([, y]) => Number.isFinite(y))).join(" ") }));
    }
    for (const dot of spec.dots || []) {
      parts.push(shape("circle", { class: `dot ${dot.name}`, cx: px(Math.min(dot.x, spec.x[1])), cy: py(dot.y), r: dot.r }));
    }
    if (this.at !== null) {
      parts.push(shape("line", { class: "cross", x1: px(this.at), x2: px(this.at), y1: EDGE.top, y2: height - EDGE.bottom }));
    }
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.svg.replaceChildren(...parts);
    setText(this.reading, this.at === null ? spec.idle : spec.read(this.at));
  }
}

function heldAt(points, x) {
  let found = points.length ? points[0][1] : NaN;
  for (const [at, y] of points) {
    if (at > x) break;
    found = y;
  }
  return found;
}

// Lower and upper of one sample over its seconds. The vertical range holds the first adversary, and only shrinks.
function bracketChart(sample) {
  const figure = sample.element.querySelector('[data-chart="bracket"]');
  const zoom = figure.querySelector("[data-zoom]");
  const signed = sample.element.dataset.signed === "yes";
  const radius = number(sample.element.dataset.radius);
  const chart = new StepChart(figure, () => {
    const { history } = sample;
    const last = history.length ? history[history.length - 1] : [0, 0, Infinity];
    const lower = [[0, signed ? -Infinity : 0], ...history.map(([t, low]) => [t, number(low)])];
    const upper = [[0, Infinity], ...history.map(([t, , high]) => [t, number(high)])];
    const ends = [...lower, ...upper].map(([, y]) => y).filter(Number.isFinite);
    if (Number.isFinite(radius) && !signed) ends.push(radius);
    let y = [signed ? Math.min(0, ...ends) * 1.1 : 0, Math.max(0, ...ends) * 1.1 || 1];
    const [low, high] = [number(last[1]), number(last[2])];
    if (zoom.checked && Number.isFinite(high) && Number.isFinite(low)) {
      const room = Math.max(high - low, Math.abs(high) * 0.01, 1e-9);
      y = [low - room, high + room];
    }
    if (!(y[1] > y[0])) y = [y[0], y[0] + 1];
    const clipped = (points) => points.map(([t, held]) => [t, Math.min(y[1], Math.max(y[0], held))]);
    const end = history.length ? Math.max(number(last[0]), 0.01) : 1;
    const dots = [];
    if (history.length && Number.isFinite(low)) dots.push({ name: "lower", x: end, y: low, r: 3.5 });
    if (Number.isFinite(high)) dots.push({ name: "upper", x: end, y: high, r: 3.5 });
    if (history.length && gap(low, high) === "0 %") dots.push({ name: "met", x: end, y: high, r: 8 });
    const read = (t) => {
      const at = Math.min(t, end);
      const [below, above] = [heldAt(lower, at), heldAt(upper, at)];
      return `${duration(at)}: ${value(below)} to ${value(above)}, open ${gap(below, above)}`;
    };
    return {
      x: [0, roundUp(end), end],
      y,
      xLabel: "seconds",
      xTick: (t) => String(t),
      yTick: (held) => String(Number(held.toPrecision(3))),
      bands: history.length ? [{ name: "open", low: clipped(lower), high: clipped(upper) }] : [],
      series: [{ name: "lower", points: lower }, { name: "upper", points: upper }],
      marks: Number.isFinite(radius) && !signed ? [{ y: radius, label: "radius asked" }] : [],
      dots,
      read,
      idle: history.length ? `now: ${value(low)} to ${value(high)}, open ${gap(low, high)}` : sample.element.dataset.state === "running" ? "no bound yet" : "waiting for its turn",
    };
  });
  zoom.addEventListener("change", () => chart.soon());
  return chart;
}

// Shares of samples over the radius; one curve of a run, or two beside each other.
function curveChart(figure) {
  const held = { curves: JSON.parse(figure.dataset.curves) };
  const names = JSON.parse(figure.dataset.names || '[""]');
  const radius = number(figure.dataset.radius);
  let widest = 0;
  held.chart = new StepChart(figure, () => {
    const ends = held.curves.flatMap((curve) => curve.radii.map(number)).filter(Number.isFinite);
    const needed = Math.max(0, ...ends, Number.isFinite(radius) ? radius * 1.25 : 0);
    if (needed > widest || needed < widest / 2.5) widest = roundUp(needed * 1.02);
    const lines = held.curves.map((curve) => ({
      low: curve.radii.map((r, k) => [number(r), curve.certified[k]]),
      high: curve.radii.map((r, k) => [number(r), curve.not_falsified[k]]),
    }));
    const two = lines.length > 1;
    const style = (k, side) => (two ? `${["first", "second"][k]} ${side}-side` : side);
    const told = (r, { low, high }) => {
      const [proven, left] = [heldAt(low, r), heldAt(high, r)];
      return two ? `${percent(proven)} to ${percent(left)}` : `${percent(proven)} proven robust, ${percent(left)} not falsified, ${percent(left - proven)} open`;
    };
    const read = (r) => `radius ${value(r)}: ${lines.map((line, k) => `${names[k]} ${told(r, line)}`.trim()).join("; ")}`;
    return {
      x: [0, widest || 1],
      y: [0, 1],
      xLabel: "radius",
      xTick: (r) => String(r),
      yTick: (share) => `${Math.round(100 * share)} %`,
      bands: lines.map((line, k) => ({ name: two ? ["first", "second"][k] : "open", low: line.low, high: line.high })),
      series: lines.flatMap((line, k) => [{ name: style(k, "upper"), points: line.high }, { name: style(k, "lower"), points: line.low }]),
      marks: Number.isFinite(radius) ? [{ x: radius, label: "radius asked" }] : [],
      read,
      idle: Number.isFinite(radius) ? read(radius) : "point at the chart, or use the arrow keys, to read it",
    };
  });
  return held;
}

function curveOf(samples) {
  const ends = samples.flatMap((sample) => [number(sample.lower), number(sample.upper)]).filter(Number.isFinite);
  const radii = [...new Set([0, ...ends.filter((end) => end > 0)])].sort((a, b) => a - b);
  const beyond = (side) => {
    const sorted = samples.map((sample) => number(sample[side])).sort((a, b) => a - b);
    let passed = 0;
    return radii.map((radius) => {
      while (passed < sorted.length && sorted[passed] <= radius) passed += 1;
      return (sorted.length - passed) / sorted.length;
    });
  };
  return { radii, certified: beyond("lower"), not_falsified: beyond("upper") };
}

// ---- Samples: rows, and the one shown large ---------------------------------------------------------------------------

const FIELDS = {
  lower: (item) => value(item.lower),
  upper: (item) => value(item.upper),
  gap: (item) => gap(item.lower, item.upper),
  seconds: (item) => duration(item.seconds),
  engine: (item) => item.engine || "–",
  nodes: (item) => String(item.nodes ?? "–"),
  open_phases: (item) => String(item.open_phases ?? "–"),
  attempt: (item) => String(item.attempt ?? "–"),
  found_by: (item) => item.found_by || "–",
  basis: (item) => item.basis || "–",
  predicted: (item) => String(item.predicted ?? "–"),
  target: (item) => String(item.target ?? "–"),
  to: (item) => (item.target === null || item.target === undefined ? "" : `→${item.target}`),
  why_open: (item) => item.why_open || "",
};

function showFields(element, item, given) {
  for (const field of element.querySelectorAll("[data-field]")) {
    const name = field.dataset.field;
    if (name === "verdict") {
      const word = statusOf(item);
      if (field.textContent !== word) {
        setText(field, word);
        field.className = `verdict is-${word}`;
      }
    } else if (name in FIELDS && (name === "gap" || name === "to" || name in given)) setText(field, FIELDS[name](item));
  }
  for (const shown of element.querySelectorAll("[data-shown]")) {
    const held = item[shown.dataset.shown];
    if (shown.dataset.shown in item) shown.hidden = held === null || held === false || held === "";
  }
  for (const unseen of element.querySelectorAll("[data-hidden]")) unseen.hidden = Boolean(item[unseen.dataset.hidden]);
}

function showBar(bar, item, scale) {
  const place = (held, other) => {
    const known = number(held);
    return Number.isNaN(known) ? other : 100 * Math.min(1, Math.max(0, (known - scale.low) / (scale.high - scale.low)));
  };
  const [zero, low, high] = [place(0, 0), place(item.lower, 0), place(item.upper, 100)];
  const put = (name, x, width) => {
    const part = bar.querySelector(name);
    part.setAttribute("x", x.toFixed(2));
    part.setAttribute("width", width.toFixed(2));
  };
  put(".bar-proven", Math.min(zero, low), Math.abs(low - zero));
  put(".bar-open", low, Math.max(0, high - low));
  put(".bar-lower", low, 1);
  put(".bar-upper", high, high < 100 ? 1 : 0);
  if (scale.radius) put(".bar-radius", place(scale.radius, 0), 0.6);
}

// Points as they were reported, which may be a hair out of order, each no earlier than the one before.
function inOrder(history) {
  let latest = 0;
  return history.map(([t, low, high]) => [(latest = Math.max(latest, number(t))), number(low), number(high)]);
}

// The panel's or the sample page's article, with its bracket over time and pictures that follow the adversary.
class LargeSample {
  constructor(element) {
    this.element = element;
    this.index = Number(element.dataset.sample);
    this.history = inOrder(JSON.parse(element.dataset.history));
    this.seen = this.history.length ? this.history[this.history.length - 1][2] : Infinity;
    this.pictured = element.querySelector('[data-picture="adversary"] img[src]') ? 1 : 0;
    for (const picture of element.querySelectorAll("[data-picture] img[src]")) {
      picture.addEventListener("error", () => (picture.hidden = true), { once: true });
    }
    this.chart = bracketChart(this);
  }

  take(item, given) {
    if ("history" in given && given.history.length >= this.history.length) {
      this.history = inOrder(given.history);
    } else if (number(item.seconds) > (this.history.length ? this.history[this.history.length - 1][0] : -1)) {
      this.history.push([number(item.seconds), number(item.lower), number(item.upper)]);
    }
    this.element.dataset.state = item.state;
    showFields(this.element, item, given);
    const open = item.state !== "done" || item.verdict === "unresolved";
    for (const why of this.element.querySelectorAll(".why")) why.hidden = !(open && item.why_open);
    setText(this.element.querySelector('[data-picture="adversary"] figcaption'), open ? "adversary so far" : "adversary");
    if (item.has_adversary && (number(item.upper) < this.seen || !this.pictured)) this.picture(item);
    this.chart.soon();
  }

  picture(item) {
    const wait = this.pictured + 700 - Date.now();
    if (wait > 0) {
      clearTimeout(this.later);
      this.later = setTimeout(() => this.picture(item), wait);
      return;
    }
    this.pictured = Date.now();
    this.seen = number(item.upper);
    for (const name of ["adversary", "difference"]) {
      const figure = this.element.querySelector(`[data-picture="${name}"]`);
      if (!figure) continue;
      const fresh = new Image();
      fresh.onload = () => {
        const shown = figure.querySelector("img");
        shown.src = fresh.src;
        shown.hidden = false;
        figure.querySelector(".none").hidden = true;
      };
      fresh.src = `/runs/${this.element.dataset.run}/samples/${this.index}/${name}.png?at=${item.upper}`;
    }
  }
}

class Rows {
  constructor(chosen) {
    this.root = document.getElementById("samples");
    this.whole = this.root.dataset.whole === "yes";
    this.scale = { low: Number(this.root.dataset.low), high: Number(this.root.dataset.high), radius: this.root.dataset.radius };
    this.rows = new Map();
    this.items = new Map();
    this.filter = "";
    this.chosen = chosen;
    for (const row of this.root.querySelectorAll("tr[data-sample]")) {
      const item = JSON.parse(row.dataset.item);
      row.removeAttribute("data-item");
      this.rows.set(item.index, row);
      this.items.set(item.index, item);
    }
    this.body = this.root.querySelector("tbody");
    this.body.addEventListener("click", (event) => this.click(event));
    this.body.addEventListener("keydown", (event) => this.move(event));
    if (this.whole) this.sorts();
  }

  take(item) {
    const row = this.rows.get(item.index);
    if (!row) return;
    this.rescale();
    row.dataset.status = statusOf(item);
    showBar(row.querySelector("[data-bar]"), item, this.scale);
  }

  // One scale for all bars; it follows the widest bracket, and shrinks only where half of it would be empty.
  rescale() {
    const ends = [number(this.scale.radius), ...[...this.items.values()].flatMap((item) => [number(item.lower), number(item.upper)])];
    const known = ends.filter(Number.isFinite);
    const [low, high] = [1.08 * Math.min(0, ...known), 1.08 * Math.max(0, ...known)];
    const [now, needed] = [this.scale.high - this.scale.low, high - low];
    if (!(needed > 0) || (low >= this.scale.low && high <= this.scale.high && 2 * needed > now)) return;
    Object.assign(this.scale, { low, high });
    for (const [index, row] of this.rows) showBar(row.querySelector("[data-bar]"), this.items.get(index), this.scale);
  }

  mark(index) {
    for (const [at, row] of this.rows) row.toggleAttribute("data-chosen", at === index);
  }

  click(event) {
    const row = event.target.closest("tr[data-sample]");
    if (!row || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    this.chosen(Number(row.dataset.sample), true);
    row.querySelector("a").focus({ preventScroll: true });
  }

  move(event) {
    const step = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
    let row = event.target.closest("tr[data-sample]");
    if (!step || !row) return;
    event.preventDefault();
    do row = row[step];
    while (row && row.hidden);
    if (!row) return;
    row.querySelector("a").focus();
    this.chosen(Number(row.dataset.sample), false);
  }

  sorts() {
    for (const link of this.root.querySelectorAll("[data-sort]")) {
      link.setAttribute("role", "button");
      link.addEventListener("keydown", (event) => event.key === " " && (event.preventDefault(), link.click()));
      link.addEventListener("click", (event) => {
        event.preventDefault();
        const head = link.closest("th");
        const down = head.getAttribute("aria-sort") === "ascending";
        for (const other of this.root.querySelectorAll("th[aria-sort]")) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        this.sort(link.dataset.sort, down);
      });
    }
    for (const link of this.root.querySelectorAll("[data-filter]")) {
      link.setAttribute("role", "button");
      link.addEventListener("keydown", (event) => event.key === " " && (event.preventDefault(), link.click()));
      link.addEventListener("click", (event) => {
        event.preventDefault();
        for (const other of this.root.querySelectorAll("[data-filter]")) other.removeAttribute("aria-current");
        link.setAttribute("aria-current", "true");
        this.filter = link.dataset.filter;
        this.narrow();
      });
    }
    this.find = this.root.querySelector("[data-find]");
    this.find.addEventListener("input", () => this.narrow());
  }

  sort(key, down) {
    const order = ["waiting", "running", "unresolved", "failed", "misclassified", "falsified", "certified", "exact"];
    const keys = {
      gap: (item) => number(item.upper) - number(item.lower),
      verdict: (item) => order.indexOf(statusOf(item)),
    };
    const by = keys[key] || ((item) => number(item[key]));
    const compare = (a, b) => (a === b ? 0 : Number.isNaN(a) ? 1 : Number.isNaN(b) ? -1 : a < b ? -1 : 1);
    const sorted = [...this.items.values()].sort((a, b) => (down ? -1 : 1) * compare(by(a), by(b)) || a.index - b.index);
    this.body.append(...sorted.map((item) => this.rows.get(item.index)));
  }

  narrow() {
    const words = this.find.value.trim().toLowerCase();
    for (const row of this.rows.values()) {
      const { status } = row.dataset;
      const open = ["waiting", "running", "unresolved"].includes(status);
      const fits = !this.filter || (this.filter === "open" ? open : status === this.filter);
      row.hidden = !(fits && (!words || row.textContent.toLowerCase().includes(words)));
    }
  }
}

// ---- A run, while it goes on ------------------------------------------------------------------------------------------

// Server-sent events while the page is seen: a hidden page would hold one of the few connections that a browser has.
class Watch {
  constructor(run, taken, caughtUp) {
    this.run = run;
    this.taken = taken;
    this.caughtUp = caughtUp;
    this.wanted = false;
    document.addEventListener("visibilitychange", () => this.adjust());
  }

  set(wanted) {
    this.wanted = wanted;
    this.adjust();
  }

  adjust() {
    const needed = this.wanted && document.visibilityState === "visible";
    if (needed && !this.source) this.open();
    if (!needed && this.source) {
      this.source.close();
      this.source = null;
      this.tell("");
    }
  }

  open() {
    this.source = new EventSource(`/runs/${this.run}/events`);
    this.source.onopen = () => (this.tell(""), this.caughtUp()); // what happened before the first event
    this.source.onerror = () => {
      this.tell("connection lost, trying again");
      if (this.source && this.source.readyState === EventSource.CLOSED) {
        this.source = null;
        setTimeout(() => this.adjust(), 3000);
      }
    };
    for (const kind of ["bracket", "sample", "run"]) {
      this.source.addEventListener(kind, (event) => this.taken(kind, JSON.parse(event.data)));
    }
  }

  tell(text) {
    setText(document.querySelector("[data-connection]"), text);
  }
}

function watchRun(main) {
  const { run } = main.dataset;
  const follow = document.querySelector("[data-follow]");
  const figure = document.querySelector('[data-chart="curve"]');
  const curve = figure ? curveChart(figure) : null;
  const table = document.getElementById("samples") ? new Rows((index, now) => choose(index, now)) : null;
  const articles = () => document.querySelector("article.sample");
  let large = articles() ? new LargeSample(articles()) : null;
  const items = table ? table.items : new Map();
  if (large && !items.has(large.index)) items.set(large.index, { index: large.index, state: large.element.dataset.state });
  if (table && large) table.mark(large.index);
  if (curve && table && table.whole) curve.curves = [curveOf([...items.values()])]; // every step, where the server has a grid

  let choosing = 0;
  let changed = Date.now();
  let later = 0;

  function choose(index, now) {
    if (follow) follow.checked = false;
    clearTimeout(later);
    later = setTimeout(() => show(index), now ? 0 : 150);
  }

  async function show(index) {
    if (!table || (large && large.index === index)) return;
    table.mark(index);
    choosing = index;
    changed = Date.now();
    try {
      const [article] = await fragment(`/view/runs/${run}/samples/${index}?part=sample`);
      if (choosing !== index) return;
      document.getElementById("panel").replaceChildren(document.adoptNode(article));
      large = new LargeSample(articles());
      const item = items.get(index);
      if (item && item.history) large.take(item, {});
    } catch (error) {
      complain("run", error);
    }
  }

  function followed() {
    if (!follow || !follow.checked || Date.now() - changed < 1200) return;
    const shown = large && items.get(large.index);
    if (shown && shown.state === "running") return;
    const next = [...items.values()].find((item) => item.state === "running");
    if (next) show(next.index);
  }

  let drawing = 0;

  function curveSoon() {
    if (!curve || drawing) return;
    drawing = setTimeout(
      async () => {
        try {
          if (table && table.whole) curve.curves = [curveOf([...items.values()])];
          else curve.curves = [await ask(`/runs/${run}/curve`)];
          curve.chart.soon();
        } catch {
          // the next event tries again
        }
        drawing = 0;
      },
      table && table.whole ? 100 : 5000,
    );
  }

  function takeSample(given) {
    const item = items.get(given.index);
    if (!item) return;
    const before = item.state;
    Object.assign(item, given);
    if (table) table.take(item);
    for (const element of document.querySelectorAll(`[data-sample="${given.index}"]`)) {
      if (element.tagName !== "ARTICLE") showFields(element, item, given);
    }
    if (large && large.index === given.index) large.take(item, given);
    if (before !== item.state) {
      followed();
      runSoon();
    }
    if (table && table.filter && before !== item.state && !table.root.contains(document.activeElement)) table.narrow();
    curveSoon();
  }

  function takeBracket(given) {
    const item = items.get(given.index);
    if (!item || item.state === "done") return; // late: what is done is better
    const keep = (held, other, best) => (Number.isNaN(number(held)) ? other : best(number(held), number(other)) === number(held) ? held : other);
    takeSample({
      ...given,
      state: "running",
      engine: given.technique || given.engine,
      lower: keep(item.lower, given.lower, Math.max),
      upper: keep(item.upper, given.upper, Math.min),
    });
    followed();
  }

  function left(seconds) {
    const text = going(main.dataset.state) && number(seconds) > 0 ? `about ${remaining(seconds)} left` : "";
    setText(document.querySelector('[data-run-field="left"]'), text);
  }

  const VERDICTS = ["exact", "certified", "falsified", "unresolved", "misclassified", "empty"];

  // What the rows say, where all of them are on the page; the server tells it when a run begins and ends.
  function counted() {
    const of = (fits) => [...items.values()].filter(fits).length;
    const counts = Object.fromEntries(VERDICTS.map((name) => [name, of((item) => item.state === "done" && item.verdict === name)]));
    for (const state of ["done", "running", "failed"]) counts[state] = of((item) => item.state === state);
    return { ...counts, total: items.size, open: of((item) => ["waiting", "running"].includes(item.state)) + counts.unresolved };
  }

  function showCounts(counts) {
    setText(document.querySelector('[data-run-field="done"]'), `${counts.done} of ${counts.total} answered`);
    say(`${counts.done} of ${counts.total} answered`);
    for (const chip of document.querySelectorAll("[data-count]")) setText(chip, String(counts[chip.dataset.count]));
    let start = 0;
    for (const part of document.querySelectorAll("[data-progress] [data-part]")) {
      const width = (100 * (counts[part.dataset.part] || 0)) / Math.max(1, counts.total);
      part.setAttribute("x", start.toFixed(2));
      part.setAttribute("width", width.toFixed(2));
      start += width;
    }
    const bar = document.querySelector("[data-progress]");
    if (bar) bar.setAttribute("aria-label", `${counts.done} of ${counts.total} answered`);
    for (const link of document.querySelectorAll("[data-answered]")) link.toggleAttribute("data-none", !counts.done);
    const resume = document.querySelector('[data-act="resume"]');
    if (resume) resume.hidden = going(main.dataset.state) || !counts.open;
  }

  let telling = 0;

  // After a sample began or ended: counts at once, and how long the rest will take every few seconds.
  function runSoon() {
    if (table && table.whole) showCounts(counted());
    if (telling) return;
    telling = setTimeout(
      async () => {
        telling = 0;
        try {
          if (going(main.dataset.state)) takeRun(await ask(`/runs/${run}`));
        } catch {
          // the next sample tries again
        }
      },
      3000,
    );
  }

  function takeRun(given) {
    const was = main.dataset.state;
    main.dataset.state = given.state;
    const state = document.querySelector('[data-run-field="state"]');
    if (state) {
      setText(state, given.state);
      state.className = `state is-${given.state}`;
    }
    const { counts } = given;
    if (counts) showCounts(counts);
    if (given.seconds_left !== undefined) left(given.seconds_left);
    if (!going(given.state)) left(null);
    for (const [act, when] of [["cancel", going(given.state)], ["delete", !going(given.state)]]) {
      const button = document.querySelector(`[data-act="${act}"]`);
      if (button) button.hidden = !when;
    }
    if (given.error) complain("run", new Refusal(given.error));
    if (was !== given.state) say(`The run is ${given.state}.`, true);
    watch.set(going(given.state) || (counts && counts.running > 0)); // what a cancelled run holds is still given back
    if (going(was) && !watch.wanted) catchUp(); // whatever was on its way
  }

  async function catchUp() {
    try {
      const now = await ask(`/runs/${run}`); // first, so that samples of a run that has ended are all there
      if (table && table.whole) for (const item of await everything(`/runs/${run}/samples`, 300)) takeSample(item);
      else if (large) takeSample(await ask(`/runs/${run}/samples/${large.index}`));
      takeRun(now);
    } catch (error) {
      if (document.querySelector('[data-problem="run"]')) complain("run", error);
    }
  }

  const taken = { bracket: takeBracket, sample: takeSample, run: takeRun };
  const watch = new Watch(run, (kind, given) => taken[kind](given), catchUp);
  watch.set(going(main.dataset.state));
  acts(main, run, takeRun);
}

function acts(main, run, takeRun) {
  const act = (name) => document.querySelector(`[data-act="${name}"]`);
  if (!act("cancel")) return;
  for (const button of document.querySelectorAll("[data-act], [data-act] button")) button.disabled = false;
  const doing = async (path, body) => {
    complain("run", null);
    try {
      await ask(path, "POST", body);
      takeRun(await ask(`/runs/${run}`));
    } catch (error) {
      complain("run", error);
    }
  };
  act("cancel").addEventListener("click", () => doing(`/runs/${run}/cancel`, {}));
  act("resume").addEventListener("submit", (event) => {
    event.preventDefault();
    doing(`/runs/${run}/resume`, { time_limit: Number(new FormData(act("resume")).get("time_limit")) });
  });
  act("delete").addEventListener("click", async () => {
    if (!act("delete").dataset.sure) {
      act("delete").dataset.sure = "yes";
      setText(act("delete"), "Delete for good?");
      return;
    }
    try {
      await ask(`/runs/${run}`, "DELETE");
      location.assign("/#runs");
    } catch (error) {
      complain("run", error);
    }
  });
}

function signIn() {
  const form = document.querySelector(".sign-in");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    complain("sign-in", null);
    try {
      await told(await fetch("/session", { method: "POST", body: new URLSearchParams(new FormData(form)) }));
      location.assign("/");
    } catch (error) {
      complain("sign-in", error instanceof Refusal ? error : new Refusal("The server cannot be reached."));
    }
  });
}

// ---- The first page ---------------------------------------------------------------------------------------------------

const KINDS = { model: "/models", data: "/data" };
const OF_DATA = /\.(npz|npy|png)$/i;

function askPage() {
  const form = document.getElementById("question");
  const button = form.querySelector(".submit button");
  const chosen = (kind) => form.elements[kind];
  const ready = () => (button.disabled = !(chosen("model").value && chosen("data").value));

  async function showPart(kind) {
    const place = document.querySelector(`[data-part="${kind}"]`);
    const id = chosen(kind).value;
    if (!id) return;
    try {
      const parts = await fragment(`/view/${kind === "model" ? "models" : "data"}/${encodeURIComponent(id)}?part=facts`);
      if (chosen(kind).value === id) place.replaceChildren(...[...parts].map((part) => document.adoptNode(part)));
      fits();
    } catch (error) {
      complain(kind, error);
    }
  }

  function fits() {
    const model = document.querySelector(".model");
    const data = document.querySelector(".data");
    if (!model || !data) return;
    const size = data.dataset.shape.split(",").reduce((product, side) => product * Number(side), 1);
    const inputs = Number(model.dataset.inputs);
    const same = !inputs || !size || inputs === size;
    complain("data", same ? null : new Refusal(`The network takes ${inputs} inputs, these samples have ${size}: choose others.`));
  }

  async function send(kind, files) {
    if (!files.length) return;
    const zone = document.querySelector(`[data-drop="${kind}"]`);
    complain(kind, null);
    zone.dataset.sending = "yes";
    try {
      const sent = await upload(KINDS[kind], files, (share) => {
        const words = share < 1 ? `${Math.round(100 * share)} % sent` : "Reading it …";
        setText(zone.querySelector(".sending"), words);
        say(words);
      });
      const known = [...chosen(kind).options].find((option) => option.value === sent.id);
      if (!known) chosen(kind).add(new Option(sent.name, sent.id));
      chosen(kind).value = sent.id;
      await showPart(kind);
      say(`${sent.name} is here.`, true);
    } catch (error) {
      complain(kind, error);
    }
    delete zone.dataset.sending;
    setText(zone.querySelector(".sending"), "");
    ready();
  }

  for (const kind of Object.keys(KINDS)) {
    const input = document.getElementById(`${kind}-file`);
    input.addEventListener("change", async () => {
      await send(kind, [...input.files]);
      input.value = "";
    });
    chosen(kind).addEventListener("change", () => (complain(kind, null), showPart(kind), ready()));
  }
  // A file may be dropped anywhere: what it is says where it goes.
  const carries = (event) => event.dataTransfer && [...event.dataTransfer.types].includes("Files");
  document.addEventListener("dragover", (event) => {
    if (!carries(event)) return;
    event.preventDefault();
    document.body.dataset.dragging = "yes";
  });
  document.addEventListener("dragleave", (event) => event.relatedTarget || delete document.body.dataset.dragging);
  document.addEventListener("drop", (event) => {
    delete document.body.dataset.dragging;
    if (!carries(event)) return;
    event.preventDefault();
    const files = [...event.dataTransfer.files];
    const data = files.filter((file) => OF_DATA.test(file.name));
    send("data", data);
    send("model", files.filter((file) => !data.includes(file)));
  });

  const withRadius = form.querySelector("[data-for-radius]");
  const shownRadius = () => {
    withRadius.hidden = !form.querySelector("[data-radius]:checked");
  };
  const provable = () => {
    const without = chosen("norm").value === "l0" || chosen("question").value === "report"; // these have no proofs
    chosen("proofs").disabled = without;
  };
  form.addEventListener("change", () => (shownRadius(), provable()));
  shownRadius();
  provable();
  ready();

  let key = freshKey();
  form.addEventListener("input", () => (key = freshKey())); // another question is another run; a second click is not
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    complain("question", null);
    button.disabled = true;
    setText(button, "Checking the question …"); // the network is loaded once for that
    try {
      const run = await ask("/runs", "POST", question(new FormData(form), !withRadius.hidden), { "Idempotency-Key": key });
      location.assign(`/view/runs/${run.id}`);
    } catch (error) {
      complain("question", error);
      setText(button, "Ask");
      ready();
    }
  });
  addEventListener("pageshow", () => (setText(button, "Ask"), ready())); // also when the reader comes back
}

function freshKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function question(form, withRadius) {
  const text = (name) => String(form.get(name) || "").trim();
  const numbers = (name) => text(name).split(",").map((part) => figure(name, part));
  const options = { norm: text("norm") };
  for (const name of ["time_limit", "tolerance", "margin", "grid", "seed"]) if (text(name)) options[name] = figure(name, text(name));
  for (const name of ["targets", "box"]) if (text(name)) options[name] = numbers(name);
  if (text("engine")) options.engine = text("engine");
  const asked = { model: text("model"), data: text("data"), question: text("question"), options, proofs: form.has("proofs") };
  if (text("samples")) asked.samples = text("samples");
  if (text("title")) asked.title = text("title");
  if (withRadius) asked.radius = figure("radius", text("radius"));
  return asked;
}

function figure(name, text) {
  const [over, under] = text.split("/");
  const found = under === undefined ? Number(over) : Number(over) / Number(under);
  if (text.trim() === "" || !Number.isFinite(found)) throw new Refusal(`${name.replace("_", " ")}: “${text}” is no number; write it as 0.05 or 8/255.`);
  return found;
}

function runList() {
  const refresh = async () => {
    const list = document.getElementById("run-list");
    if (!list || list.dataset.busy !== "yes" || document.visibilityState !== "visible") return;
    if (list.contains(document.activeElement) || list.querySelector("input:checked")) return;
    try {
      const [fresh] = await fragment(`/?part=runs${location.search.replace("?", "&")}`);
      list.replaceWith(document.adoptNode(fresh));
    } catch {
      // the next turn tries again
    }
  };
  setInterval(refresh, 3000);
}

// ---- Which page this is -----------------------------------------------------------------------------------------------

document.addEventListener("DOMContentLoaded", () => {
  const main = document.getElementById("main");
  themeSwitch();
  const pages = {
    home: () => (askPage(), runList()),
    run: () => watchRun(main),
    sample: () => watchRun(main),
    "sign-in": signIn,
    compare: () => document.querySelectorAll('[data-chart="curve"]').forEach(curveChart),
  };
  (pages[main.dataset.page] || (() => {}))();
});
