// Reading a run: on a narrow screen the step that was chosen comes into sight, and the way back to its place in the story.
const narrow = matchMedia("(width < 64rem)");
let chosen = new URL(location.href).searchParams.get("step");

document.addEventListener("htmx:afterSettle", ({ detail }) => {
  if (detail.target?.id !== "reading" && detail.elt?.id !== "reading") return;
  const now = new URL(location.href).searchParams.get("step");
  if (now && now !== chosen && narrow.matches) document.getElementById("step")?.scrollIntoView({ block: "start" });
  chosen = now;
});

// The query bar offers what may come next, behind what is there already: a datalist knows only whole values.
document.addEventListener("input", ({ target }) => {
  if (!target.matches?.("[data-words]")) return;
  const before = target.value.slice(0, target.value.lastIndexOf(" ") + 1);
  for (const option of target.list.options) {
    option.dataset.word ??= option.value;
    option.value = before + option.dataset.word;
  }
});
