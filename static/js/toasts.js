// Short notices at the edge. The server sends them with the header HX-Trigger: {"toast": {"hue": "ok", "text": "…"}}.
const STAYS = { ok: 5_000, still: 5_000 };

export function toast(hue, text) {
  const notice = document.createElement("div");
  notice.className = "toast";
  const words = document.createElement("span");
  words.className = `state ${hue}`;
  words.textContent = text;
  const dismiss = document.createElement("button");
  dismiss.type = "button";
  dismiss.className = "plain small";
  dismiss.dataset.dismiss = "";
  dismiss.textContent = "Dismiss";
  notice.append(words, dismiss);
  document.getElementById("toasts").append(notice);
  if (STAYS[hue]) setTimeout(() => notice.remove(), STAYS[hue]);
}

document.addEventListener("toast", ({ detail }) => toast(detail.hue || "ok", detail.text || detail.value));
document.addEventListener("click", (event) => event.target.closest("[data-dismiss]")?.closest(".toast").remove());
