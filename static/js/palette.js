// The command palette: every room, and every act of this page that carries data-command, by name.
import { open } from "./dialogs.js";

const dialog = document.getElementById("palette");
const input = dialog?.querySelector("input");
const list = dialog?.querySelector("[role=listbox]");
const none = dialog?.querySelector(".none");
let entries = [];
let chosen = 0;

function collect() {
  const rooms = [...document.querySelectorAll(".rooms a")].map((link) => entry(link, "page"));
  const own = [...document.querySelectorAll(".menu .item")].map((item) => entry(item, item.matches("a") ? "page" : "action"));
  const acts = [...document.querySelectorAll("[data-command]")].filter((one) => !one.disabled).map((one) => entry(one, "action"));
  const looks = [...document.querySelectorAll(".menu .setting button")].map((button) => ({
    name: `${button.form.querySelector("[id$=-name]").textContent}: ${button.textContent}`, kind: "setting", icon: null, run: () => button.click(),
  }));
  return [...acts, ...rooms, ...own, ...looks];
}

function entry(element, kind) {
  const words = element.dataset.command || element.querySelector("span:not(.count)")?.textContent || [...element.childNodes].filter((node) => node.nodeName === "#text").map((node) => node.data).join("");
  return { name: words.trim(), kind, icon: element.querySelector(".icon"), run: () => element.click() };
}

// Letters in order, nearest together first: "apr" finds Approvals before "Pause a run".
function score(name, wanted) {
  let at = -1;
  let spread = 0;
  for (const letter of wanted) {
    const next = name.indexOf(letter, at + 1);
    if (next < 0) return -1;
    spread += at < 0 ? next : next - at - 1;
    at = next;
  }
  return 1000 - spread;
}

function show() {
  const wanted = input.value.toLowerCase().replaceAll(" ", "");
  const found = entries.map((one) => ({ one, rank: score(one.name.toLowerCase().replaceAll(" ", ""), wanted) }))
    .filter(({ rank }) => rank >= 0).sort((a, b) => wanted ? b.rank - a.rank : 0);
  chosen = Math.min(Math.max(chosen, 0), Math.max(found.length - 1, 0));
  list.replaceChildren(...found.map(({ one }, place) => option(one, place)));
  none.hidden = found.length > 0;
  input.setAttribute("aria-activedescendant", found.length ? `option-${chosen}` : "");
  list.children[chosen]?.scrollIntoView({ block: "nearest" });
}

function option(one, place) {
  const row = document.createElement("div");
  row.id = `option-${place}`;
  row.setAttribute("role", "option");
  row.setAttribute("aria-selected", place === chosen);
  const words = document.createElement("span");
  words.textContent = one.name;
  const kind = document.createElement("span");
  kind.className = "push";
  kind.textContent = one.kind;
  const sign = one.icon?.cloneNode(true) || document.createElement("span");
  sign.classList.add(one.icon ? "icon" : "blank");
  row.append(sign, words, kind);
  row.addEventListener("click", () => {
    dialog.close();
    one.run();
  });
  return row;
}

if (/Mac|iPhone|iPad/.test(navigator.platform)) {
  for (const key of document.querySelectorAll("kbd")) key.textContent = key.textContent.replace("Ctrl", "⌘");
}

if (dialog) {
  dialog.addEventListener("opened", () => {
    entries = collect();
    input.value = "";
    chosen = 0;
    show();
    input.focus();
  });
  input.addEventListener("input", () => {
    chosen = 0;
    show();
  });
  input.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      chosen += step;
      show();
    } else if (event.key === "Enter") {
      event.preventDefault();
      list.children[chosen]?.click();
    }
  });
  document.addEventListener("keydown", (event) => {
    if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "k") return;
    event.preventDefault();
    if (dialog.open) dialog.close();
    else open(dialog);
  });
}
