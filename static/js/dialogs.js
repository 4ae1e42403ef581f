// Dialogs: opened modally, closed when their act has happened, keeping what was wrong beside what was typed.
export function open(dialog) {
  if (dialog.open) return;
  dialog.showModal();
  dialog.dispatchEvent(new CustomEvent("opened"));
}

// In the capture phase: without this script the same button shows the same dialog as a popover.
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-opens], [popovertarget], [data-closes]");
  if (!button) return;
  if (button.hasAttribute("data-closes")) {
    event.preventDefault();
    button.closest("dialog").close();
    return;
  }
  const target = document.getElementById(button.dataset.opens || button.getAttribute("popovertarget"));
  if (!(target instanceof HTMLDialogElement)) return;
  event.preventDefault();
  button.closest("[popover]:popover-open")?.hidePopover();
  open(target);
}, true);

// A press on the backdrop closes, unless something was typed.
document.addEventListener("click", (event) => {
  if (!(event.target instanceof HTMLDialogElement)) return;
  const typed = [...event.target.querySelectorAll("textarea, input:not([type=hidden])")].some((field) => field.value);
  if (!typed) event.target.close();
});

document.addEventListener("htmx:afterRequest", ({ detail }) => {
  const dialog = detail.elt.closest("dialog[open]");
  if (dialog && detail.successful && detail.requestConfig.verb !== "get") dialog.close();
});

// After an act its button may be gone with the fragment: the keyboard stays where the act was.
document.addEventListener("htmx:afterSettle", ({ detail }) => {
  if (document.activeElement !== document.body || detail.requestConfig?.verb === "get") return;
  document.getElementById(detail.target?.id)?.querySelector("button, a[href], input")?.focus();
});
