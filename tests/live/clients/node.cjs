// One of the libraries for Node sends numbered events: at first a burst, then one after the other.
// node node.cjs CLIENT HOST KEY PREFIX BURST STEADY; prints "steady" in between and "done" at last.
"use strict";

const [client, host, writeKey, prefix, burst, steady] = process.argv.slice(2);
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const user = `${prefix} user`;

/** Each gives {track, identify, close}; `close` waits until everything was sent or given up. */
const clients = {
  "segment-node": () => {
    const { Analytics } = require("@segment/analytics-node");
    const analytics = new Analytics({ writeKey, host, flushAt: 5, flushInterval: 200 });
    analytics.on("error", (error) => console.log("error", error.code, String(error.reason)));
    return {
      track: (event) => analytics.track({ userId: user, event }),
      identify: (traits) => analytics.identify({ userId: user, anonymousId: `${prefix} a`, traits }),
      close: () => analytics.closeAndFlush({ timeout: 60000 }),
    };
  },
  "rudder-node": () => {
    const Analytics = require("@rudderstack/rudder-sdk-node");
    const analytics = new Analytics(writeKey, {
      dataPlaneUrl: host, flushAt: 5, flushInterval: 200, retryCount: 20, logLevel: "error",
      errorHandler: (error) => console.log("error", String(error)),
    });
    return {
      track: (event) => analytics.track({ userId: user, event }),
      identify: (traits) => analytics.identify({ userId: user, anonymousId: `${prefix} a`, traits }),
      close: () => analytics.flush(),
    };
  },
  "jitsu-node": () => {
    const { jitsuAnalytics } = require("@jitsu/js");
    const analytics = jitsuAnalytics({ host, writeKey, s2s: true });
    const sent = [];
    return {
      track: (event) => sent.push(analytics.track(event, {}, { userId: user })),
      identify: (traits) => sent.push(analytics.identify(user, traits)),
      close: () => Promise.all(sent),
    };
  },
};

(async () => {
  const { track, identify, close } = clients[client]();
  identify({ email: `${prefix.replaceAll(" ", "-")}@example.com` });
  for (let n = 0; n < burst; n++) track(`${prefix} ${n}`);
  console.log("steady");
  for (let n = 0; n < steady; n++) {
    await pause(100);
    track(`${prefix} ${Number(burst) + n}`);
  }
  await close();
  console.log("done");
})();
