// Makes a page live: hears which topics changed and has the fragments that show them fetched again.
//
// <div id="run" data-live="run:0193…" hx-get="…" hx-trigger="live" hx-swap="outerHTML"> is fetched when one of its topics
// changes, at most four times a second (data-live-every="2000" for fewer), never while somebody types in it, and not
// while nobody looks. With data-live-mode="announce" known rows change in place and new ones wait behind "3 new". What
// must show that nothing happens any more is fetched now and then without being told (data-live-within="15000").
import { coarse, correct } from "./times.js";

const LOOKS = { live: "ok", connecting: "still", reconnecting: "warn", offline: "bad", "signed out": "bad" };
const isAway = () => !["live", "connecting"].includes(state.word);
const AT_MOST_EVERY = 250;
const PATIENCE = 10_000;
const { events, stream, person, since } = document.body.dataset;
const dirty = new Set();
const renewed = new Map();
const answers = new Map();
let state = { word: "connecting", since: Date.now() };

function heard({ topics, state: next, skew }) {
  if (topics) mark(topics);
  if (skew !== undefined) correct(skew);
  if (!next) return;
  const wasAway = isAway();
  state = next;
  show();
  if (wasAway && next.word === "live") mark(["*"]);
}

function mark(topics) {
  const changed = new Set(topics);
  for (const element of document.querySelectorAll("[data-live]")) {
    if (changed.has("*") || element.dataset.live.split(/\s+/).some((topic) => changed.has(topic))) dirty.add(element);
  }
  renew();
}

function renew() {
  if (document.hidden) return;
  const now = performance.now();
  for (const element of document.querySelectorAll("[data-live-within]")) {
    if (now - (renewed.get(element.id) ?? 0) >= Number(element.dataset.liveWithin)) dirty.add(element);
  }
  for (const element of dirty) {
    if (!element.isConnected) {
      dirty.delete(element);
    } else if (isReady(element, now)) {
      dirty.delete(element);
      renewed.set(element.id, now);
      if (element.dataset.liveMode === "announce" && element.querySelector("[data-key]")) announce(element);
      else htmx.trigger(element, "live");
    }
  }
}

function isReady(element, now) {
  const last = renewed.get(element.id) ?? -Infinity;
  const isDue = now - last >= Number(element.dataset.liveEvery || AT_MOST_EVERY);
  return isDue && !element.classList.contains("htmx-request") && !isInUse(element);
}

// What a person is in the middle of is not taken from under their hands; it is renewed when they are done.
function isInUse(element) {
  if (element.querySelector("dialog[open], :popover-open, .htmx-request")) return true; // an act under way must find its form
  const selection = getSelection();
  if (!selection.isCollapsed && element.contains(selection.anchorNode)) return true;
  const focused = document.activeElement;
  return element.contains(focused) && focused.matches("textarea, select, input:not([type=checkbox])");
}

// Somebody may have begun while the answer was under way; and what says the same as before is left as it stands, with
// what was opened and scrolled in it. Times count up by themselves, hidden keys are new with every answer.
document.addEventListener("htmx:beforeSwap", (event) => {
  const { target, requestConfig, xhr } = event.detail;
  if (requestConfig?.triggeringEvent?.type !== "live") answers.clear(); // an act changed what is on the page
  if (requestConfig?.triggeringEvent?.type !== "live" || !target?.id || xhr.status !== 200) return;
  const said = xhr.responseText.replace(/(<time[^>]*>)[^<]*/g, "$1").replace(/(name="(request_id|csrfmiddlewaretoken)" value=)"[^"]*"/g, "$1");
  if (isInUse(target)) {
    event.detail.shouldSwap = false;
    dirty.add(target);
  } else if (answers.get(target.id) === said) {
    event.detail.shouldSwap = false;
  } else {
    answers.set(target.id, said);
  }
});

async function announce(element) {
  const answer = await fetch(element.getAttribute("hx-get"), { headers: { "HX-Request": "true", "HX-Target": element.id } }).catch(() => null);
  if (!answer?.ok || answer.redirected || !element.isConnected) return;
  const incoming = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = [...incoming.querySelectorAll("[data-key]")].filter((row) => !replace(element, row));
  const banner = element.querySelector("[data-fresh]");
  if (!banner) return;
  banner.replaceChildren();
  if (!fresh.length) return;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "small";
  button.textContent = `${fresh.length} new`;
  button.addEventListener("click", () => htmx.trigger(element, "live"));
  banner.append(button);
}

function replace(element, row) {
  const known = element.querySelector(`[data-key="${CSS.escape(row.dataset.key)}"]`);
  if (!known) return false;
  if (known.innerHTML === row.innerHTML || isInUse(known)) return true;
  const focusable = () => [...known.querySelectorAll("a[href], button")];
  const focused = focusable().indexOf(document.activeElement);
  known.innerHTML = row.innerHTML;
  htmx.process(known);
  focusable()[focused]?.focus({ preventScroll: true });
  return true;
}

function show() {
  if (state.word === "connecting" && Date.now() - state.since > PATIENCE) state = { ...state, word: "offline" };
  const sign = document.getElementById("live");
  if (!sign) return;
  sign.className = `live state ${LOOKS[state.word]}`;
  const word = sign.querySelector("[data-word]");
  if (word.textContent === "live") sign.setAttribute("role", "status"); // from now on a change is worth telling
  if (word.textContent !== state.word) word.textContent = state.word;
  sign.querySelector("[data-age]").textContent = isAway() ? coarse((Date.now() - state.since) / 1000) : "";
}

function connect() {
  const hello = { address: new URL(events, location.href).href, person, since: Number(since) };
  if (!window.SharedWorker) return connectAlone(hello);
  const worker = new SharedWorker(stream, { type: "module", name: "cockpit" });
  worker.onerror = () => connectAlone(hello);
  worker.port.onmessage = ({ data }) => heard(data);
  worker.port.postMessage(hello);
  addEventListener("pagehide", () => worker.port.postMessage({ bye: true }));
  addEventListener("pageshow", (event) => event.persisted && worker.port.postMessage(hello));
}

async function connectAlone(hello) {
  const { Stream } = await import(stream);
  const own = new Stream(heard);
  own.open(hello.address, hello.since);
  addEventListener("pagehide", () => own.close());
  addEventListener("pageshow", (event) => event.persisted && own.open(hello.address, Date.now()));
}

if (document.getElementById("live")) {
  connect();
  setInterval(() => {
    renew();
    show();
  }, AT_MOST_EVERY);
  document.addEventListener("visibilitychange", renew);
}
