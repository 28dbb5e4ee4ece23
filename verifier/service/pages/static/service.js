// The first page, and which page this is. What the scripts need is in the page or comes from this server; without them the
// pages can still be read.
"use strict";

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
  const others = document.getElementById("models");
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
    if (!files.length) return false;
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
      if (!known) for (const list of kind === "model" ? [chosen(kind), others] : [chosen(kind)]) list.add(new Option(sent.name, sent.id));
      chosen(kind).value = sent.id;
      await showPart(kind);
      say(`${sent.name} is here.`, true);
      return true;
    } catch (error) {
      complain(kind, error);
      return false;
    } finally {
      delete zone.dataset.sending;
      setText(zone.querySelector(".sending"), "");
      ready();
    }
  }

  // Several networks are sent one after the other, until one is refused; what lies beside one is its external data.
  async function sendAll(kind, files) {
    const networks = kind === "model" && files.every((file) => /\.onnx$/i.test(file.name));
    for (const some of networks ? files.map((file) => [file]) : [files]) if (!(await send(kind, some))) return;
  }

  for (const kind of Object.keys(KINDS)) {
    const input = document.getElementById(`${kind}-file`);
    input.addEventListener("change", async () => {
      await sendAll(kind, [...input.files]);
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
    sendAll("data", data);
    sendAll("model", files.filter((file) => !data.includes(file)));
  });

  const withRadius = form.querySelector("[data-for-radius]");
  const several = form.querySelector("[data-for-several]");
  const shownRadius = () => {
    withRadius.hidden = !form.querySelector("[data-radius]:checked");
    several.hidden = !form.querySelector("[data-several]:checked");
  };
  const provable = () => {
    const without = chosen("norm").value === "l0" || chosen("question").value === "compare"; // these have no proofs
    chosen("proofs").disabled = without;
    chosen("proofs").closest("label").hidden = without;
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
      const asked = question(new FormData(form), !withRadius.hidden);
      const kind = asked.question === "compare" ? "comparisons" : "runs";
      const found = await ask(`/${kind}`, "POST", kind === "runs" ? asked : compared(asked, new FormData(form)), { "Idempotency-Key": key });
      location.assign(`/view/${kind}/${found.id}`);
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

function compared({ model, data, samples, options, title }, form) {
  const models = [...new Set([model, ...form.getAll("models")])];
  if (models.length < 2) throw new Refusal("Choose at least one more network to compare with.");
  return { models, data, samples, options, title };
}

function figure(name, text) {
  const [over, under] = text.split("/");
  const found = under === undefined ? Number(over) : Number(over) / Number(under);
  if (text.trim() === "" || !Number.isFinite(found)) throw new Refusal(`${name.replace("_", " ")}: “${text}” is no number; write it as 0.05 or 8/255.`);
  return found;
}

// The seconds that what is open goes on with: a text that is no number would be sent as null, which is no limit.
function moreTime(form) {
  return figure("time_limit", String(new FormData(form).get("time_limit")));
}

function runList() {
  const refresh = async () => {
    const list = document.getElementById("run-list");
    if (!list || list.dataset.busy !== "yes" || document.visibilityState !== "visible") return;
    if (list.contains(document.activeElement) || list.querySelector("input:checked")) return;
    try {
      const [fresh] = await fragment(`${location.pathname}?part=runs${location.search.replace("?", "&")}`);
      list.replaceWith(document.adoptNode(fresh));
    } catch {
      // the next turn tries again
    }
  };
  setInterval(refresh, 3000);
}

// ---- Several networks compared ------------------------------------------------------------------------------------------

function comparisonPage(main) {
  const at = `/comparisons/${main.dataset.comparison}`;
  const act = (name) => document.querySelector(`[data-act="${name}"]`);
  for (const button of document.querySelectorAll("[data-act], [data-act] button")) button.disabled = false;
  const doing = async (path, method, body, next) => {
    complain("comparison", null);
    try {
      await ask(path, method, body);
      location.assign(next);
    } catch (error) {
      complain("comparison", error);
    }
  };
  act("cancel").addEventListener("click", () => doing(`${at}/cancel`, "POST", {}, location.href));
  act("resume").addEventListener("submit", (event) => {
    event.preventDefault();
    try {
      doing(`${at}/resume`, "POST", { time_limit: moreTime(act("resume")) }, location.href);
    } catch (error) {
      complain("comparison", error);
    }
  });
  act("delete").addEventListener("click", () => {
    if (act("delete").dataset.sure) return doing(at, "DELETE", undefined, "/#runs");
    act("delete").dataset.sure = "yes";
    setText(act("delete"), "Delete for good?");
  });
  const figures = [...document.querySelectorAll('[data-chart="curve"]')];
  const charts = figures.map(curveChart);
  const list = document.getElementById("run-list");
  if (list.dataset.busy !== "yes") return;
  // What the page says beside the list, as it is now: where all are together, and their curves on one scale.
  async function told() {
    try {
      const now = await ask(at);
      const curves = await Promise.all(now.runs.map((run) => ask(`/runs/${run.id}/curve`)));
      const state = document.querySelector(".sentence .state");
      setText(state, now.state);
      state.className = `state is-${now.state}`;
      document.querySelector("[data-written]").hidden = !now.runs.every((run) => run.counts.done);
      const end = Math.max(...curves.flatMap((curve) => curve.radii.map(number)));
      figures.forEach((figure, k) => {
        figure.dataset.end = end;
        charts[k].curves = [curves[k]];
        charts[k].chart.soon();
      });
    } catch {
      // the next turn tries again
    }
  }
  new MutationObserver(() => { // the list was put anew: so is the rest, and once all has ended, the whole page
    if (document.getElementById("run-list").dataset.busy === "no") location.reload();
    else told();
  }).observe(list.parentNode, { childList: true });
  runList();
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
    comparison: () => comparisonPage(main),
    compare: () => document.querySelectorAll('[data-chart="curve"]').forEach(curveChart),
  };
  (pages[main.dataset.page] || (() => {}))();
});
