/* The demo's shop. Everything it tells the CDP, it tells through the tag: window.cdp. */
(() => {
  "use strict";

  const config = JSON.parse(document.getElementById("config").textContent);
  const recordOf = Object.fromEntries(config.records.map((record) => [record.sku, record]));
  const byId = (id) => document.getElementById(id);
  const money = (amount) => `${config.currency} ${amount.toFixed(2)}`;

  // The tag may load after this script: until then its calls wait in an array.
  window.cdp = window.cdp || [];
  const cdp = (...call) => window.cdp.push(call);

  // ---- the shop's own memory, of this tab -------------------------------------------------

  const memory = {
    cart: JSON.parse(sessionStorage.getItem("cart") || "[]"),
    name: sessionStorage.getItem("name") || "",
  };

  function remember() {
    sessionStorage.setItem("cart", JSON.stringify(memory.cart));
    sessionStorage.setItem("name", memory.name);
    byId("cart-count").textContent = memory.cart.length;
    byId("who").textContent = memory.name || "Sign in";
    byId("thanks-sign-in").hidden = Boolean(memory.name);
  }

  const product = (record) => ({
    product_id: record.sku,
    name: record.title,
    brand: record.artist,
    category: record.genre,
    price: record.price,
    currency: config.currency,
  });

  // ---- pages ------------------------------------------------------------------------------

  const skuOf = (path) => decodeURI(path.slice(config.shop.length)).replace(/\/$/, "");

  function show() {
    const record = recordOf[skuOf(location.pathname)];
    byId("list").hidden = Boolean(record);
    for (const article of document.querySelectorAll("article.record")) {
      article.hidden = article.dataset.sku !== (record && record.sku);
    }
    document.title = record ? `${record.title} – Slow Tram Records` : "Slow Tram Records";
    scrollTo(0, 0);
    if (record) cdp("track", "Product Viewed", product(record));
  }

  function go(event) {
    const link = event.target.closest("a[data-go]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    history.pushState(null, "", link.href);
    show();
    byId("main").focus();
  }

  // ---- cart and order ---------------------------------------------------------------------

  function add(sku) {
    const record = recordOf[sku];
    memory.cart.push(sku);
    remember();
    cdp("track", "Product Added", { ...product(record), quantity: 1 });
    say(`“${record.title}” is in the cart.`);
  }

  const total = () => memory.cart.reduce((sum, sku) => sum + recordOf[sku].price * 100, 0) / 100;

  function showCart() {
    const lines = memory.cart.map((sku) => {
      const line = document.createElement("li");
      line.textContent = `${recordOf[sku].title} – ${money(recordOf[sku].price)}`;
      return line;
    });
    byId("cart-lines").replaceChildren(...lines);
    byId("cart-total").textContent = money(total());
    byId("order").disabled = !lines.length;
  }

  function order() {
    const number = `W-${Date.now().toString(36).toUpperCase()}`;
    const products = memory.cart.map((sku) => ({ ...product(recordOf[sku]), quantity: 1 }));
    const revenue = total();
    cdp("track", "Order Completed", {
      order_id: number,
      revenue,
      currency: config.currency,
      products,
    });
    memory.cart = [];
    remember();
    byId("cart").close();
    byId("thanks-text").textContent = memory.name
      ? `Order ${number} over ${money(revenue)} is on its way, ${memory.name}.`
      : `Order ${number} over ${money(revenue)}. Tell us who you are?`;
    byId("thanks").showModal();
  }

  // ---- who it is --------------------------------------------------------------------------

  /** A number of 53 bits that stands for a text: the shop has no database that could count. */
  function digest(text) {
    let [a, b] = [0xdeadbeef, 0x41c6ce57];
    for (const character of text) {
      a = Math.imul(a ^ character.codePointAt(0), 2654435761);
      b = Math.imul(b ^ character.codePointAt(0), 1597334677);
    }
    a = Math.imul(a ^ (a >>> 16), 2246822507) ^ Math.imul(b ^ (b >>> 13), 3266489909);
    b = Math.imul(b ^ (b >>> 16), 2246822507) ^ Math.imul(a ^ (a >>> 13), 3266489909);
    return 4294967296 * (2097151 & b) + (a >>> 0);
  }

  function signIn(form) {
    const traits = Object.fromEntries(new FormData(form));
    const userId = `WEB-${digest(traits.email.trim().toLowerCase()).toString(36).toUpperCase()}`;
    memory.name = traits.firstName;
    remember();
    cdp("identify", userId, traits);
    say(`Welcome, ${traits.firstName}.`);
  }

  function startAgain() {
    memory.cart = [];
    memory.name = "";
    remember();
    cdp("reset");
    cdp("page");
    look();
    say("You are a new visitor now.");
  }

  // ---- what the CDP sees ------------------------------------------------------------------

  const EVERY_MS = 700;

  async function look() {
    if (document.hidden || !window.cdp.user) return;
    const id = window.cdp.user().anonymousId;
    byId("anonymous-id").textContent = `${id.slice(0, 8)}…`;
    try {
      const answer = await fetch(`${config.me}?anonymous_id=${encodeURIComponent(id)}`);
      if (answer.ok) showSeen(await answer.json());
    } catch {
      // the server restarts; the next look will do
    }
  }

  function showSeen(seen) {
    const { events = [], segments = [], did = [] } = seen;
    byId("loading").hidden = !seen.is_loading;
    byId("customer-id").textContent = seen.customer_id || "none yet";
    byId("segments").replaceChildren(...(segments.length ? segments.map(chip) : ["none"]));
    byId("events-count").textContent = seen.events_count || 0;
    byId("events").replaceChildren(...events.map(eventLine));
    byId("profile").hidden = !seen.profile;
    if (seen.profile) byId("profile").href = seen.profile;
    tick("look", did.includes("Product Viewed"));
    tick("order", did.includes("Order Completed"));
    tick("sign-in", Boolean(seen.customer_id));
    tick("enter", segments.some((segment) => segment.key === config.goal));
    tick("message", seen.messages > 0);
  }

  const tick = (step, isDone) => byId(`step-${step}`).classList.toggle("done", Boolean(isDone));

  function chip(segment) {
    const span = document.createElement("span");
    span.className = segment.key === config.goal ? "chip goal" : "chip";
    span.textContent = segment.name;
    return span;
  }

  function eventLine(event) {
    const line = document.createElement("li");
    const time = document.createElement("time");
    time.dateTime = event.at;
    time.textContent = new Date(event.at).toLocaleTimeString("de-CH");
    line.append(time, ` ${event.name}`);
    if (event.amount) line.append(` · ${event.amount}`);
    return line;
  }

  // ---- wiring -----------------------------------------------------------------------------

  function say(text) {
    byId("said").textContent = text;
    clearTimeout(say.timer);
    say.timer = setTimeout(() => (byId("said").textContent = ""), 4000);
  }

  function open(id) {
    for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close();
    if (id === "cart") showCart();
    byId(id).showModal();
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return go(event);
    if (button.dataset.add) add(button.dataset.add);
    if (button.dataset.open) open(button.dataset.open);
    if ("close" in button.dataset) button.closest("dialog").close();
  });
  byId("order").addEventListener("click", order);
  byId("forget").addEventListener("click", startAgain);
  byId("sign-in-form").addEventListener("submit", (event) => signIn(event.target));
  addEventListener("popstate", show);
  remember();
  show();
  setInterval(look, EVERY_MS);
})();
