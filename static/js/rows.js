// Keys: rows of a list (j k Enter x), the sheet (?), the filter (/), new rows (.), answers (1–9), and what
// a page gives a key of its own (data-press). Silent while typing. A list that a row of another opens (data-rows="inner")
// has the keys while one stands in it; Escape leads back to the row that opened it.
import { open } from "./dialogs.js";

const ROWS = "[data-rows] > [data-key]";

function isTyping(element) {
  return element.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(element.tagName) && !/^(checkbox|radio|button)$/.test(element.type);
}

const INNER = '[data-rows="inner"]';

function rows() {
  const inner = document.activeElement.closest?.(INNER);
  const all = [...document.querySelectorAll(ROWS)].filter((row) => row.offsetParent !== null);
  const own = all.filter((row) => row.closest(INNER) === inner);
  return own.length ? own : all;
}

// Where one stands; on a page just opened, the row of what its address shows.
function here() {
  return document.activeElement.closest?.(ROWS) || document.querySelector(`${ROWS}.here`) || document.querySelector(`.chosen ${ROWS}:has([aria-current])`);
}

function parts(row) {
  return [...row.querySelectorAll("a[href], button, input")];
}

// What a key opens has the keyboard.
function press(part) {
  part?.click();
  if (!part?.matches("summary")) return;
  const field = part.parentElement.open && part.parentElement.querySelector("input:not([type=hidden]), select, textarea");
  setTimeout(() => (field || part).focus()); // afterwards: the key would be typed into the field
}

// Out of a list that a row opened, back to that row; false where one stands in none.
function leave() {
  const opener = document.querySelector(`${ROWS}:has([aria-current])`);
  if (!document.activeElement.closest?.(INNER) || !opener?.offsetParent) return false;
  stand(opener);
  return true;
}

function move(step) {
  const all = rows();
  if (!all.length) return;
  const at = all.indexOf(here());
  stand(all[Math.min(Math.max(at + step, 0), all.length - 1)]);
}

export function stand(row) {
  document.querySelectorAll(`${ROWS}.here`).forEach((other) => other.classList.remove("here"));
  row.classList.add("here");
  const link = row.matches("a") ? row : row.querySelector("a[href], button");
  link?.focus({ preventScroll: true });
  row.scrollIntoView({ block: "nearest" });
}

const KEYS = {
  j: () => move(1),
  k: () => move(-1),
  x: () => here()?.querySelector("input[type=checkbox]")?.click(),
  "/": () => document.querySelector("[data-query]")?.focus(),
  "?": () => open(document.getElementById("keys")),
  ".": () => document.querySelector("[data-fresh] button")?.click(),
};

document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key === "Enter") {
    document.activeElement.closest("form")?.requestSubmit();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape" && isTyping(event.target) && !event.target.closest("dialog")) event.target.blur();
  if (isTyping(event.target) || document.querySelector("dialog[open]")) return;
  if (/^[1-9]$/.test(event.key)) {
    document.querySelector(`[data-answer="${event.key}"]`)?.click();
  } else if (event.key === "Escape") {
    if (!leave()) document.querySelector("[data-escape]")?.click();
  } else if (event.key === "Enter" && event.target === document.body) {
    here()?.querySelector("a[href]")?.click();
  } else if (KEYS[event.key]) {
    event.preventDefault();
    KEYS[event.key]();
  } else if (event.key.length === 1) {
    press(document.querySelector(`[data-press="${CSS.escape(event.key)}"]`));
  }
});

// A row is as good as its link, for the mouse.
document.addEventListener("click", (event) => {
  const row = event.target.closest("tr[data-key]");
  if (!row || event.target.closest("a, button, input, label, summary") || String(getSelection())) return;
  row.querySelector("a[href]")?.click();
});

// A fragment that was renewed keeps the row the person stands on, and the keyboard where it was in it.
let standing = null;
document.addEventListener("htmx:beforeSwap", () => {
  const row = here();
  standing = row && { key: row.dataset.key, at: parts(row).indexOf(document.activeElement) };
});
document.addEventListener("htmx:afterSwap", () => { // at once: the next key may be on its way
  const row = standing && document.querySelector(`[data-rows] > [data-key="${CSS.escape(standing.key)}"]`);
  if (!row) return;
  if (!document.querySelector(`${ROWS}.here`)) row.classList.add("here");
  if (standing.at >= 0 && document.activeElement === document.body) parts(row)[standing.at]?.focus({ preventScroll: true });
});
