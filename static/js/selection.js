// Ticked rows of a queue stay ticked when the list is renewed, and the bar says how many there are. In a group, one box
// ticks all of them, and the button says how many it decides.
const BOXES = 'input[type=checkbox][form="selection"]';
const picked = new Set();
const key = (box) => `${box.name}=${box.value}`;
const boxes = () => [...document.querySelectorAll(BOXES)];

function show() {
  const bar = document.querySelector("[data-selection]");
  if (!bar) return;
  const number = boxes().filter((box) => box.checked).length;
  const words = number ? `${number} selected` : bar.dataset.selection;
  const told = bar.querySelector("[data-picked]");
  if (told.textContent !== words) told.textContent = words;
  const button = bar.querySelector('[data-press="b"]');
  button.disabled = !number;
  button.title = number ? "" : "Tick requests first.";
}

function begin() {
  for (const box of boxes()) {
    if (box.defaultChecked) picked.add(key(box));
  }
  show();
}

document.addEventListener("change", ({ target }) => {
  if (target.matches(BOXES)) {
    if (target.checked) picked.add(key(target));
    else picked.delete(key(target));
    show();
  } else if (target.matches("[data-group] [data-all]")) {
    for (const box of target.closest("[data-group]").querySelectorAll("[name=id]")) box.checked = target.checked;
  }
  if (target.closest?.("[data-group]")) count();
});

function count() {
  const group = document.querySelector("[data-group]");
  if (!group) return;
  const members = [...group.querySelectorAll("[name=id]")];
  const number = members.filter((box) => box.checked).length;
  for (const all of group.querySelectorAll("[data-all]")) {
    all.checked = number === members.length;
    all.indeterminate = number > 0 && number < members.length;
  }
  const button = group.querySelector("[data-act]");
  button.firstChild.data = `Decide the ${number} ticked `;
  button.disabled = !number;
  button.title = number ? "" : "Tick at least one of them.";
}

document.addEventListener("htmx:afterSettle", () => {
  const present = new Set(boxes().map(key));
  for (const one of picked) {
    if (present.size && !present.has(one)) picked.delete(one); // decided, or on another page: no longer what one sees
  }
  for (const box of boxes()) box.checked = picked.has(key(box));
  show();
  count();
});

begin();
count();
