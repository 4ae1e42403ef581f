// Choosing an answer puts the cursor where that answer goes on: the reason, the arguments, the outcome. Only where there
// is a keyboard: on a phone it would cover what is being decided. A rejection asks for its reason before it is sent.
const hasKeyboard = matchMedia("(hover: hover)");

function require(form) {
  const { answer, code, reason } = form.elements;
  reason.required = answer.value === "reject" && (!code || code.value === "other"); // a code says enough by itself
}

document.addEventListener("change", (event) => {
  if (event.target.matches(".answers select[name=code]")) require(event.target.form);
  if (!event.target.matches(".answers input[name=answer]")) return;
  const form = event.target.form;
  const answer = event.target.value;
  require(form);
  if (form.elements.outcome) form.elements.outcome.required = answer === "outcome";
  if (!hasKeyboard.matches) return;
  event.target.focus(); // at once: what somebody is in the middle of is not renewed under their hands
  // Afterwards: the key that chose would be typed into the field that it leads to.
  setTimeout(() => form.querySelector(`[data-first~="${answer}"]`)?.focus());
});
