// A run while it goes on: its rows, the sample shown large, and its events. Needs words.js and charts.js.
"use strict";

// ---- Samples: rows, and the one shown large ---------------------------------------------------------------------------

const FIELDS = {
  lower: (item) => below(item.lower),
  upper: (item) => above(item.upper),
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
    try {
      doing(`/runs/${run}/resume`, { time_limit: moreTime(act("resume")) });
    } catch (error) {
      complain("run", error);
    }
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
