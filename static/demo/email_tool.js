/* Shows new messages as they arrive. */
(() => {
  "use strict";

  const EVERY_MS = 1000;
  const list = document.getElementById("messages");

  async function look() {
    if (document.hidden) return;
    try {
      const answer = await fetch(list.dataset.url);
      if (!answer.ok) return;
      const known = new Set([...list.querySelectorAll("[data-id]")].map((item) => item.dataset.id));
      list.innerHTML = await answer.text();
      for (const item of list.querySelectorAll("[data-id]")) {
        item.classList.toggle("fresh", !known.has(item.dataset.id));
      }
    } catch {
      // the server restarts; the next look will do
    }
  }

  setInterval(look, EVERY_MS);
})();
