// Step charts: a sample's bracket over its seconds, a run's curve over the radius. Needs words.js.
"use strict";

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
      const [low, high] = [heldAt(lower, at), heldAt(upper, at)];
      return `${duration(at)}: ${below(low)} to ${above(high)}, open ${gap(low, high)}`;
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
      idle: history.length ? `now: ${below(low)} to ${above(high)}, open ${gap(low, high)}` : sample.element.dataset.state === "running" ? "no bound yet" : "waiting for its turn",
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
    const needed = Math.max(0, number(figure.dataset.end || "0"), ...ends, Number.isFinite(radius) ? radius * 1.25 : 0);
    if (needed > widest || needed < widest / 2.5) widest = roundUp(needed * 1.02);
    const lines = held.curves.map((curve) => ({
      low: curve.radii.map((r, k) => [number(r), curve.certified[k]]),
      high: curve.radii.map((r, k) => [number(r), curve.not_falsified[k]]),
    }));
    const two = lines.length > 1;
    const style = (k, side) => (two ? `${["first", "second"][k]} ${side}-side` : side);
    const told = (r, { low, high }) => {
      const [proven, left] = [heldAt(low, r), heldAt(high, r)];
      const [down, up] = shares(proven, left);
      return two ? `${down} to ${up}` : `${down} proven robust, ${up} not falsified, ${percent(left - proven, 1)} open`;
    };
    const read = (r) => `radius ${r}: ${lines.map((line, k) => `${names[k]} ${told(r, line)}`.trim()).join("; ")}`;
    return {
      x: [0, widest || 1],
      y: [0, 1],
      xLabel: "radius",
      xTick: (r) => String(r),
      yTick: (share) => `${Math.round(100 * share)} %`,
      bands: lines.map((line, k) => ({ name: two ? ["first", "second"][k] : "open", low: line.low, high: line.high })),
      series: lines.flatMap((line, k) => [{ name: style(k, "upper"), points: line.high }, { name: style(k, "lower"), points: line.low }]),
      marks: Number.isFinite(radius) ? [{ x: radius, label: "radius asked" }] : [],
      read: (r) => read(Number(r.toPrecision(4))), // what is read is what holds at the radius that is shown
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
