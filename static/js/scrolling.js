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

fit();
addEventListener("resize", fit);
document.addEventListener("htmx:afterSettle", fit);
document.addEventListener("toggle", fit, true); // details that open
