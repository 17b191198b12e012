/*! cdp.js 1.0 - tells your CDP what visitors of this site do. MIT licence.
 *
 * <script async src="https://YOUR-CDP/cdp.js?key=KEY"></script>
 *
 * cdp.track(event, properties)     something they did
 * cdp.identify(userId, traits)     who they are
 * cdp.page(name, properties)       a page; views, also of single-page sites, are sent by themselves
 * cdp.consent({analytics: true})   what they agree to; it is asked for first if the source says so
 * cdp.group(groupId, traits)   cdp.alias(userId, previousId)   cdp.reset()   cdp.user()
 *
 * To call before this script has loaded, let `cdp` be an array first: cdp.push(["track", "Hello"]).
 * A message leaves the queue, which survives in localStorage, once the server has said that it is
 * stored; until then it may be sent again, and the server knows it by its messageId.
 */
(() => {
  "use strict";

  const SETTLE_MS = 200; // messages closer together than this share a request
  const PAGE_MS = 50; // an address changes before its title does
  const MAX_MESSAGES = 50; // of a request
  const MAX_CHARS = 50000; // of a request, about
  const MAX_CLOSING = 60000; // bytes: browsers send no more than 64 KB while a page closes
  const MAX_QUEUED = 1000; // messages; beyond it the oldest go
  const MAX_WAIT_S = 60; // between tries
  const YEAR_S = 31536000;
  const ID = "cdp_anonymous_id";
  const USER = "cdp_user_id";
  const CONSENT = "cdp_consent";
  const PURPOSE = "analytics"; // what visitors agree to or refuse, unless the page names another

  const script = document.currentScript;
  const settings = (script && script.dataset) || {};
  const home = script ? script.src.replace(/\/[^/]*(\?.*)?$/, "") : location.origin;
  const globalName = settings.global || settings.globalSegmentAnalyticsKey || "cdp";
  const stub = window[globalName];
  if (stub && stub.version) return; // this script is on the page twice

  // ---- what the browser keeps -------------------------------------------------------------

  const memory = {}; // stands in where localStorage is full or forbidden
  const store = {
    get(key) {
      if (key in memory) return memory[key];
      try {
        return localStorage.getItem(key);
      } catch {
        return null;
      }
    },
    set(key, value) {
      try {
        localStorage.setItem(key, value);
        delete memory[key];
      } catch {
        memory[key] = value;
      }
    },
    remove(key) {
      delete memory[key];
      try {
        localStorage.removeItem(key);
      } catch {
        // there was nothing to remove
      }
    },
    keys(prefix) {
      try {
        return Object.keys(localStorage).filter((key) => key.startsWith(prefix)).sort();
      } catch {
        return [];
      }
    },
  };

  function readCookie(name) {
    try {
      const found = document.cookie.match(`(?:^|; )${name}=([^;]*)`);
      return found && decodeURIComponent(found[1]);
    } catch {
      return null; // forbidden, or not ours
    }
  }

  function writeCookie(name, value) {
    const secure = location.protocol === "https:" ? "; Secure" : "";
    const kept = `; Path=/; SameSite=Lax; Max-Age=${YEAR_S}${secure}`;
    try {
      document.cookie = `${name}=; Path=/; Max-Age=0`; // one of this host alone would hide it
      document.cookie = `${name}=${encodeURIComponent(value)}${kept}${domain()}`;
    } catch {
      // forbidden
    }
  }

  /** The widest domain that the browser lets us write for: all of a site's subdomains share it. */
  function domain() {
    const parts = location.hostname.split(".");
    for (let most = 2; most <= parts.length; most++) {
      const wide = `; Domain=${parts.slice(-most).join(".")}`;
      document.cookie = `cdp_probe=1; Path=/; Max-Age=9${wide}`;
      if (!readCookie("cdp_probe")) continue;
      document.cookie = `cdp_probe=; Path=/; Max-Age=0${wide}`;
      return wide;
    }
    return "";
  }

  function uuid() {
    if (window.crypto.randomUUID) return crypto.randomUUID(); // only on https and localhost
    return "10000000-1000-4000-8000-100000000000".replace(/[018]/g, (digit) =>
      (digit ^ (crypto.getRandomValues(new Uint8Array(1))[0] & (15 >> (digit / 4)))).toString(16),
    );
  }

  // ---- whether anything may be said -------------------------------------------------------

  let needsConsent = false;
  let unsaid = []; // calls made before the visitor has decided

  function consents() {
    try {
      return JSON.parse(store.get(CONSENT)) || {};
    } catch {
      return {};
    }
  }

  /** True or false as the visitor has decided; undefined before. */
  const answer = () => consents()[settings.purpose || PURPOSE];

  function asksNotToBeTracked() {
    const { doNotTrack, globalPrivacyControl } = navigator;
    return settings.dnt !== "ignore" && (doNotTrack === "1" || globalPrivacyControl === true);
  }

  const maySpeak = () => answer() ?? !(needsConsent || asksNotToBeTracked());

  // ---- who this is ------------------------------------------------------------------------

  function anonymousId() {
    const known = store.get(ID) || readCookie(ID);
    return known || (maySpeak() ? rememberAnonymousId(uuid()) : null);
  }

  function rememberAnonymousId(id) {
    store.set(ID, id);
    writeCookie(ID, id);
    return id;
  }

  // ---- what is said -----------------------------------------------------------------------

  let referrer = document.referrer; // of this page, also within a single-page site

  function pageNow() {
    const { href, pathname, search } = location;
    return { path: pathname, referrer, search, title: document.title, url: href };
  }

  function campaign() {
    const found = {};
    new URLSearchParams(location.search).forEach((value, key) => {
      if (key.startsWith("utm_")) found[key === "utm_campaign" ? "name" : key.slice(4)] = value;
    });
    return Object.keys(found).length ? (landed = found) : landed;
  }

  let landed; // the campaign that brought the visitor to this page

  function say(type, members, options, timestamp = new Date().toISOString(), page = pageNow()) {
    options = options || {};
    if (!maySpeak()) {
      if (needsConsent && answer() === undefined && unsaid.length < MAX_MESSAGES)
        unsaid.push([type, members, options, timestamp, page]);
    } else tell(type, members, options, timestamp, page);
  }

  function tell(type, members, options, timestamp, page) {
    const { context, ...others } = options;
    enqueue({
      type,
      messageId: uuid(),
      anonymousId: anonymousId(),
      userId: store.get(USER) || undefined,
      timestamp,
      ...members,
      ...others,
      context: {
        page,
        campaign: campaign(),
        locale: navigator.language,
        timezone: Intl.DateTimeFormat().resolvedOptions().timeZone,
        screen: { width: screen.width, height: screen.height, density: devicePixelRatio },
        userAgent: navigator.userAgent,
        library: { name: "cdp.js", version: api.version },
        ...context,
      },
    });
  }

  const isObject = (value) => typeof value === "object" && value !== null;

  const calls = {
    load(key, options = {}) {
      if (writeKey || !key) return;
      writeKey = key;
      host = (options.host || home).replace(/\/$/, "");
      const told = (window.cdpSources || {})[key] || {};
      needsConsent = options.consent ?? (settings.consent === "required" || !!told.consent);
      queue = store.keys(prefix()).map((name) => ({ name })); // what earlier pages left
      if (options.autoPage !== false) watchPages();
      held.splice(0).forEach(([name, parameters]) => calls[name](...parameters));
      plan(SETTLE_MS);
    },
    track(event, properties, options) {
      say("track", { event, properties: properties || {} }, options);
    },
    page(name, properties, options) {
      if (isObject(name)) return calls.page(undefined, name, properties);
      clearTimeout(pageTimer);
      announced = address();
      say("page", { name, properties: { ...pageNow(), name, ...properties } }, options);
    },
    identify(userId, traits, options) {
      if (isObject(userId)) return calls.identify(undefined, userId, traits);
      if (userId || userId === 0) store.set(USER, String(userId));
      say("identify", { traits: traits || {} }, options);
    },
    group(groupId, groupTraits, options) {
      say("group", { groupId: String(groupId), traits: groupTraits || {} }, options);
    },
    alias(userId, previousId, options) {
      const previous = previousId || store.get(USER) || anonymousId();
      say("alias", { userId: String(userId), previousId: previous }, options);
    },
    consent(answers, options) {
      const spoke = maySpeak();
      store.set(CONSENT, JSON.stringify({ ...consents(), ...answers }));
      if (!spoke && !maySpeak()) unsaid = []; // who refuses at once is told to nobody
      else tell("consent", { consent: answers }, options || {}, new Date().toISOString(), pageNow());
      if (maySpeak()) unsaid.splice(0).forEach((call) => tell(...call));
    },
    reset() {
      store.remove(USER);
      if (maySpeak()) rememberAnonymousId(uuid());
    },
    ready(callback) {
      callback();
    },
  };

  // ---- page views -------------------------------------------------------------------------

  let announced = null; // the address of which a view was sent
  let shown = null; // the address that is on the screen
  let pageTimer;

  function address() {
    const route = /^#[!/]/.test(location.hash) ? location.hash : "";
    return location.origin + location.pathname + location.search + route;
  }

  function watchPages() {
    for (const name of ["pushState", "replaceState"]) {
      const original = history[name];
      history[name] = function (...parameters) {
        const result = original.apply(this, parameters);
        pageMayHaveChanged();
        return result;
      };
    }
    addEventListener("popstate", pageMayHaveChanged);
    addEventListener("hashchange", pageMayHaveChanged);
    addEventListener("pageshow", (event) => {
      if (!event.persisted) return; // else: back again, as it was left
      announced = shown = null;
      pageMayHaveChanged();
    });
    pageMayHaveChanged();
  }

  function pageMayHaveChanged() {
    if (address() === shown) return;
    if (shown) referrer = shown;
    shown = address();
    clearTimeout(pageTimer);
    pageTimer = setTimeout(() => address() === announced || calls.page(), PAGE_MS);
  }

  // ---- the queue --------------------------------------------------------------------------

  let writeKey = "";
  let host = home;
  let queue = []; // [{name of the stored copy, text; absent if an earlier page left it}]
  let sending = [];
  let failures = 0;
  let number = 0;
  let timer;
  const held = []; // calls made before load

  const prefix = () => `cdp_queue:${writeKey}:`;

  function enqueue(message) {
    const order = Date.now().toString(36) + (number++ % 1296).toString(36).padStart(2, "0");
    const item = { name: prefix() + order + message.messageId, text: JSON.stringify(message) };
    store.set(item.name, item.text);
    queue.push(item);
    while (queue.length > MAX_QUEUED) store.remove(queue.shift().name);
    if (!failures) plan(SETTLE_MS);
  }

  function plan(milliseconds) {
    clearTimeout(timer);
    timer = setTimeout(flush, milliseconds);
  }

  /** Cut the next request off a list; what another tab has sent meanwhile is gone by then. */
  function take(items, most = MAX_MESSAGES) {
    const batch = [];
    let chars = 0;
    while (items.length && batch.length < most) {
      const text = items[0].text || store.get(items[0].name);
      chars += text ? text.length : 0;
      if (chars > MAX_CHARS && batch.length) break;
      const item = items.shift();
      if (text) batch.push({ name: item.name, text });
    }
    return batch;
  }

  function envelope(batch) {
    const messages = batch.map((item) => item.text).join(",");
    const rest = JSON.stringify({ sentAt: new Date().toISOString(), writeKey });
    return `{"batch":[${messages}],${rest.slice(1)}`;
  }

  const url = () => `${host}/v1/batch`;

  async function flush() {
    if (sending.length) return;
    sending = take(queue, failures ? 1 + (MAX_MESSAGES >> failures) : MAX_MESSAGES);
    if (!sending.length) return;
    let status = 0; // no answer
    let wait;
    try {
      // Plain text, so that the browser asks nobody for leave first.
      const body = new Blob([envelope(sending)], { type: "text/plain" });
      const answer = await fetch(url(), {
        method: "POST",
        body,
        keepalive: body.size < MAX_CLOSING, // a larger one would be refused, for ever
        credentials: "omit",
      });
      status = answer.status;
      wait = Number(answer.headers.get("Retry-After"));
    } catch {
      // offline, or the server is
    }
    settle(status, wait);
  }

  function settle(status, wait) {
    const isTooLarge = status === 413 && sending.length > 1;
    const isFinal = status >= 400 && status < 500 && ![408, 429].includes(status) && !isTooLarge;
    if (isFinal) console.warn(`cdp.js: the server refused ${sending.length} messages (${status})`);
    if (isFinal || (status >= 200 && status < 300)) {
      failures = 0;
      sending.forEach((item) => store.remove(item.name));
    } else {
      failures += 1;
      queue.unshift(...sending);
    }
    sending = [];
    if (!queue.length) return;
    const pause = Math.min(MAX_WAIT_S, wait || 2 ** (failures - 1)) * (0.75 + Math.random() / 2);
    plan(failures ? pause * 1000 : 0);
  }

  /** The page may close: hand over what is left. It stays stored, for nobody says if it came. */
  function leave(event) {
    if (event.type !== "pagehide" && document.visibilityState !== "hidden") return;
    const left = queue.filter((item) => !item.handedOver);
    while (left.length) {
      const batch = take(left);
      const blob = new Blob([batch.length ? envelope(batch) : ""], { type: "text/plain" });
      if (batch.length && !navigator.sendBeacon(url(), blob)) return;
    }
    queue.forEach((item) => (item.handedOver = true));
  }

  document.addEventListener("visibilitychange", leave);
  addEventListener("pagehide", leave);
  addEventListener("online", () => {
    failures = 0;
    plan(0);
  });

  // ---- the name on the page ---------------------------------------------------------------

  const api = {
    version: "1.0",
    user: () => ({ anonymousId: anonymousId(), userId: store.get(USER) }),
    push: ([name, ...parameters]) => api[name] && api[name](...parameters),
  };
  for (const name of Object.keys(calls)) {
    api[name] = (...parameters) => {
      if (!writeKey && name !== "load") return held.push([name, parameters]);
      try {
        calls[name](...parameters);
      } catch (error) {
        console.warn(`cdp.js: ${name} was not understood`, error); // no harm to the site
      }
    };
  }
  window[globalName] = api;
  const asked = script ? new URL(script.src).searchParams.get("key") : "";
  const key = settings.writeKey || asked || (stub && stub._writeKey);
  if (Array.isArray(stub)) stub.forEach(api.push);
  if (key) api.load(key, { autoPage: settings.autoPage !== "false", ...(stub && stub._loadOptions) });
})();
