// What the theme leaves out: the keyboard, copying, dropping files. No framework, no state.
"use strict";

(() => {
  const NAMES = {
    dock_to_right: "Show or hide the navigation",
    close: "Close the navigation",
    unfold_more: "Account and theme",
    search: "Search",
    light_mode: "Light or dark",
    dark_mode: "Light or dark",
    computer: "Light or dark",
    contrast: "Light or dark",
    arrow_back: "Back to the list",
  };

  /* Elements that react to clicks only get a role, a name and the keys of a button. */
  function makeReachable(root) {
    for (const element of root.querySelectorAll("[x-on\\:click]")) {
      const isNative = element.matches("a[href], button, input, select, textarea, summary, label");
      if (isNative || element.id === "changelist-filter-close") continue;
      if (element.hasAttribute("tabindex")) continue;
      element.tabIndex = 0;
      element.setAttribute("role", "button");
    }
    for (const element of root.querySelectorAll("a, button, [role=button]")) nameByIcon(element);
    for (const icon of root.querySelectorAll(".material-symbols-outlined:not([role])")) {
      icon.setAttribute("aria-hidden", "true");
    }
  }

  /* What shows an icon and nothing else is named after it. */
  function nameByIcon(element) {
    if (element.hasAttribute("aria-label") || element.title) return;
    const isIcon = element.matches(".material-symbols-outlined");
    const icons = isIcon ? [element] : [...element.querySelectorAll(".material-symbols-outlined")];
    const said = icons.reduce((text, icon) => text.replace(icon.textContent, ""), element.textContent);
    if (!icons.length || said.trim() || element.querySelector("img[alt]")) return;
    const icon = icons[0].textContent.trim();
    element.setAttribute("aria-label", NAMES[icon] || icon.replaceAll("_", " "));
  }

  function pressLikeAButton(event) {
    const element = event.target;
    if (event.key !== "Enter" && event.key !== " ") return;
    if (!element.matches?.("[role=button]:not(button)")) return;
    event.preventDefault();
    element.click();
  }

  /* A row of a list opens what its first link opens. */
  function linkRows(root) {
    for (const row of root.querySelectorAll("#result_list tr.data-row")) {
      if (row.querySelector("th a[href]")) row.dataset.rowLink = "";
    }
  }

  function openRow(event) {
    const row = event.target.closest?.("[data-row-link]");
    if (!row || event.target.closest("a, button, input, label, select, [role=button]")) return;
    if (window.getSelection().toString()) return;
    row.querySelector("th a[href]").click();
  }

  async function copy(event) {
    const button = event.target.closest?.("[data-copy]");
    if (!button) return;
    event.preventDefault();
    const text = button.dataset.copy;
    if (navigator.clipboard) await navigator.clipboard.writeText(text);
    else copyWithoutClipboard(text);
    const icon = button.querySelector(".material-symbols-outlined");
    button.dataset.copied = "";
    announce("Copied");
    if (icon) icon.textContent = "check";
    setTimeout(() => {
      delete button.dataset.copied;
      if (icon) icon.textContent = "content_copy";
    }, 1500);
  }

  /* Browsers give pages without HTTPS no clipboard. */
  function copyWithoutClipboard(text) {
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }

  /* What cannot be taken back is asked about first. */
  function confirmSubmit(event) {
    const question = event.target.dataset.confirm;
    if (question && !window.confirm(question)) event.preventDefault();
  }

  /* A second click on a button does not send a form twice. */
  function submitOnce(event) {
    const form = event.target;
    const method = event.submitter?.getAttribute("formmethod") || form.getAttribute("method");
    if (event.defaultPrevented || method?.toLowerCase() !== "post") return;
    if ("sent" in form.dataset) event.preventDefault();
    form.dataset.sent = "";
    setTimeout(() => delete form.dataset.sent, 3000); // an answer may be a file, and the page stay
  }

  function announce(text) {
    document.getElementById("cdp-announcer").textContent = text;
  }

  function dropFiles(root) {
    for (const zone of root.querySelectorAll("[data-drop]")) {
      const input = zone.querySelector("input[type=file]");
      const label = zone.querySelector("[data-drop-name]");
      const show = () => {
        if (!input.files.length) return;
        label.textContent = input.files[0].name;
        for (const button of input.form.querySelectorAll("[data-needs-file]")) {
          button.disabled = false;
        }
      };
      input.addEventListener("change", show);
      for (const name of ["dragenter", "dragover"]) {
        zone.addEventListener(name, () => (zone.dataset.over = ""));
      }
      for (const name of ["dragleave", "drop"]) {
        zone.addEventListener(name, () => delete zone.dataset.over);
      }
      show();
    }
  }

  /* A button may open a dialog of the page; what htmx will fill in it, is emptied first. */
  function openDialog(event) {
    const opener = event.target.closest?.("[data-opens]");
    if (!opener) return;
    const dialog = document.getElementById(opener.dataset.opens);
    dialog.querySelector("[data-fresh]")?.replaceChildren("Looking …");
    dialog.showModal();
  }

  /* What was changed in one form holds back another, which knows nothing of it. */
  function holdBack(event) {
    const form = event.target.closest?.("[data-holds-back]");
    if (!form) return;
    for (const button of document.querySelectorAll(`[form="${form.dataset.holdsBack}"]`)) button.disabled = true;
    document.getElementById(form.dataset.says).hidden = false;
  }

  /* All boxes of a name are ticked, or none if all were. */
  function checkAll(event) {
    const button = event.target.closest?.("[data-checks]");
    if (!button) return;
    const boxes = [...button.form.querySelectorAll(`[name="${button.dataset.checks}"]`)];
    const isAll = boxes.every((box) => box.checked);
    for (const box of boxes) box.checked = !isAll;
  }

  /* A menu closes as menus do: by a click elsewhere, or by Escape. */
  function closeMenus(event) {
    if (event.type === "keydown" && event.key !== "Escape") return;
    for (const menu of document.querySelectorAll(".cdp-menu[open]")) {
      if (event.type === "click" && menu.contains(event.target)) continue;
      menu.open = false;
      if (event.type === "keydown") menu.querySelector("summary").focus();
    }
  }

  /* A key is made from the name until somebody types one. */
  function fillKey(event) {
    const input = event.target;
    const key = document.getElementById(input.dataset?.slugInto);
    if (!key) {
      if (event.isTrusted) input.dataset.typed = "";
      return;
    }
    if ("typed" in key.dataset) return;
    const spelled = input.value.toLowerCase().replace(/[äöü]/g, "$&e");
    const plain = spelled.normalize("NFKD").replace(/[\u0300-\u036f]/g, "");
    key.value = plain.replace(/[^a-z0-9]+/g, "-").replace(/^-+|-+$/g, "").slice(0, 50);
  }

  function prepare(root) {
    makeReachable(root);
    linkRows(root);
    dropFiles(root);
  }

  document.addEventListener("DOMContentLoaded", () => {
    const announcer = document.createElement("div");
    announcer.id = "cdp-announcer";
    announcer.className = "cdp-hidden";
    announcer.setAttribute("aria-live", "polite");
    document.body.append(announcer);
    const content = document.getElementById("content") || document.getElementById("page");
    if (content) {
      content.setAttribute("role", "main");
      content.tabIndex = -1;
    }
    document.querySelector(".login #id_username")?.focus();
    prepare(document);
  });
  document.addEventListener("htmx:load", (event) => prepare(event.target));
  document.addEventListener("keydown", pressLikeAButton);
  document.addEventListener("click", openRow);
  document.addEventListener("click", copy);
  document.addEventListener("click", checkAll);
  document.addEventListener("change", holdBack);
  document.addEventListener("click", openDialog);
  document.addEventListener("click", closeMenus);
  document.addEventListener("keydown", closeMenus);
  document.addEventListener("input", fillKey);
  document.addEventListener("submit", confirmSubmit);
  document.addEventListener("submit", submitOnce);

  /* Charts write in the colour of the theme, also when it changes. */
  function colourCharts() {
    if (!window.Chart) return;
    Chart.defaults.locale = "de-CH";
    const style = getComputedStyle(document.documentElement);
    Chart.defaults.color = style.getPropertyValue("--cdp-muted").trim() || "#6b7280";
    for (const chart of Object.values(Chart.instances)) chart.update();
  }

  new MutationObserver(colourCharts).observe(document.documentElement, {
    attributeFilter: ["class"],
  });
  document.addEventListener("DOMContentLoaded", colourCharts);
})();
