// Theme at once, stored behind; the browser's zone told to the server for those who have chosen none.
const root = document.documentElement;

function isDark() {
  return root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function label() {
  for (const form of document.querySelectorAll("[data-theme-switch]")) {
    const buttons = form.querySelectorAll("button");
    if (buttons.length === 1) buttons[0].value = isDark() ? "light" : "dark";
    else buttons.forEach((button) => button.setAttribute("aria-pressed", button.value === (root.dataset.theme || "")));
  }
}

document.addEventListener("submit", (event) => {
  if (!event.target.matches("[data-theme-switch]")) return;
  event.preventDefault();
  const { value } = event.submitter;
  if (value) root.dataset.theme = value;
  else delete root.dataset.theme;
  label();
  document.dispatchEvent(new CustomEvent("themed"));
  const body = new FormData(event.target);
  body.set("theme", value);
  fetch(event.target.action, { method: "POST", body, headers: { Accept: "application/json" } });
});

label();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", label);

if (document.body.dataset.keepZone === "yes") {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const secure = location.protocol === "https:" ? "; secure" : "";
  document.cookie = `zone=${zone}; path=/; max-age=31536000; samesite=lax${secure}`;
}
