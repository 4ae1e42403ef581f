// What scrolls sideways must be reachable by keyboard: a table that does not fit becomes a region one can stand in.
function fit() {
  for (const frame of document.querySelectorAll(".table, pre.raw")) {
    const scrolls = frame.scrollWidth > frame.clientWidth + 1 || frame.scrollHeight > frame.clientHeight + 1;
    if (frame.dataset.scrolls === undefined && frame.hasAttribute("tabindex")) continue; // made so by the page itself
    if (scrolls === (frame.dataset.scrolls === "yes")) continue;
    frame.dataset.scrolls = scrolls ? "yes" : "no";
    if (scrolls) {
      frame.tabIndex = 0;
      frame.setAttribute("role", "region");
      frame.setAttribute("aria-label", `${name(frame)}, scrolls`);
    } else {
      for (const attribute of ["tabindex", "role", "aria-label"]) frame.removeAttribute(attribute);
    }
  }
}

function name(frame) {
  return frame.closest("section, details")?.querySelector("h2, h3, summary")?.textContent.trim() || "Table";
}

// A list that scrolls by itself keeps its place when it is renewed, and shows the row that the address names; of chips
// that do not fit, the one in force is in sight.
const LIST = ".listing[id]";
const places = new Map();

function show() {
  const row = document.querySelector(`${LIST} [aria-current]`);
  const list = row?.closest(LIST);
  if (list && list.scrollHeight > list.clientHeight + 1) row.scrollIntoView({ block: "nearest" });
  for (const chips of document.querySelectorAll(".chips")) {
    const chip = chips.querySelector("[aria-current]");
    if (chip && chips.scrollWidth > chips.clientWidth) chips.scrollLeft = chip.offsetLeft - chips.offsetLeft - chip.offsetWidth / 2;
  }
}

document.addEventListener("htmx:beforeSwap", () => {
  for (const list of document.querySelectorAll(LIST)) places.set(list.id, list.scrollTop);
});
document.addEventListener("htmx:afterSwap", () => {
  for (const list of document.querySelectorAll(LIST)) list.scrollTop = places.get(list.id) ?? 0;
});

fit();
show();
addEventListener("resize", fit);
document.addEventListener("htmx:afterSettle", fit);
document.addEventListener("toggle", fit, true); // details that open
