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
