// What every page uses: its theme, words and numbers, and how the interface is asked.
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

// Four digits, the zeros at the end too, rounded so that no more is claimed: what is proven down, an adversary up.
const below = (held) => rounded(held, -1);
const above = (held) => rounded(held, 1);

function rounded(held, towards) {
  const known = number(held);
  if (Number.isNaN(known)) return "–";
  if (!Number.isFinite(known)) return known > 0 ? "∞" : "−∞";
  if (known === 0) return "0";
  const [digits, power] = Math.abs(known).toExponential().split("e"); // as many digits as tell it from its neighbours
  const all = digits.replace(".", "").padEnd(4, "0");
  const away = Math.sign(known) === towards && /[1-9]/.test(all.slice(4));
  const size = Number(`${Number(all.slice(0, 4)) + away}e${Number(power) - 3}`);
  const written = size < 1e-4 || size >= 1e4 ? size.toExponential(3).replace(/e([+-])(\d)$/, "e$10$2") : size.toPrecision(4);
  return (known < 0 ? "−" : "") + written;
}

function gap(lower, upper) {
  const [low, high] = [number(lower), number(upper)];
  if (!(Number.isFinite(low) && Number.isFinite(high))) return low === high ? "0 %" : Number.isNaN(low) ? "–" : "open";
  if (high - low <= 1e-6 * Math.max(1, Math.abs(high))) return "0 %"; // what is exact
  const share = (high - low) / Math.max(Math.abs(high), 1e-12);
  return share < 1e-3 ? "<0.1 %" : share < 10 ? percent(share, 1) : "open";
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

// A share with one digit behind the point, rounded down (-1), up (1), or to the nearest; a twelfth digit is noise.
function percent(share, towards) {
  const tenths = Number((1000 * share).toFixed(9));
  const nearest = Math.abs(tenths % 1) === 0.5 ? 2 * Math.round(tenths / 2) : Math.round(tenths);
  const told = towards < 0 ? Math.floor(tenths) : towards > 0 ? Math.ceil(tenths) : nearest;
  return `${(told / 10).toFixed(1)} %`;
}

// What is proven, rounded down, and what is not falsified, rounded up; of one number twice it, which is all or none
// where it is just that.
function shares(proven, left) {
  if (proven !== left) return [percent(proven, -1), percent(left, 1)];
  const some = proven > 0 && proven < 1 && [0, 1].includes(Number(proven.toFixed(3)));
  const told = percent(proven, some ? (proven > 0.5 ? -1 : 1) : 0);
  return [told, told];
}

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
