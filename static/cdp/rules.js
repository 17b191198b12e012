// Segment rules as the builder's controls: JSON in, a tree of nodes to edit, JSON out.
// What no control can show is kept as it came: reading and writing a rule never changes it.
"use strict";

const CdpRules = (() => {
  const OPS = {
    string: ["is", "is_not", "one_of", "none_of", "contains", "not_contains", "starts_with", "ends_with"],
    number: ["at_least", "at_most", "more_than", "less_than", "is", "is_not", "between", "one_of"],
    datetime: ["in_last", "not_in_last", "in_next", "anniversary_in_next", "before", "after", "between"],
    boolean: ["is"],
  };
  const ANY_OPS = ["exists", "missing"];
  const CONSENT = "@consent.";
  const CONSENTS = {
    yes: { op: "is", value: true },
    no: { op: "is", value: false },
    silent: { op: "missing" },
    decided: { op: "exists" },
  };
  const SPANS = { in_last: "last", not_in_last: "last", in_next: "next", anniversary_in_next: "next" };
  const LISTS = ["one_of", "none_of"];
  const UNITS = ["minutes", "hours", "days", "weeks"];
  const CALENDARS = ["today", "this_week", "this_month", "this_year"];
  const MEASURES = ["count", "sum", "average", "min", "max", "distinct", "first", "last"];
  const ALL_TYPES = ["string", "number", "datetime", "boolean"];
  const FIXED_TYPES = { amount: ["number"], currency: ["string"], "@time": ["datetime"] };
  const MAX_LEVEL = 2; // of groups within the outermost one

  // Numbers that a binary float cannot hold travel as {"@number": "their digits"}.

  const TOKENS = /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
  const EXACT = /\{"@number":"(-?[\d.eE+-]+)"\}/g;

  function parse(text) {
    return JSON.parse(
      text.replace(TOKENS, (token) =>
        token[0] === '"' || isExact(token) ? token : `{"@number":"${token}"}`,
      ),
    );
  }

  function stringify(value, indent) {
    const text = JSON.stringify(value, null, indent);
    return (indent ? text.replace(/\{\s*"@number":\s*"(-?[\d.eE+-]+)"\s*\}/g, "$1") : text).replace(EXACT, "$1");
  }

  function isExact(digits) {
    return plain(digits) === plain(String(Number(digits)));
  }

  /* A number without what does not matter: 2.50 → 2.5; with an exponent it stays as it is. */
  function plain(digits) {
    if (/[eE]/.test(digits)) return digits;
    const trimmed = digits.includes(".") ? digits.replace(/\.?0+$/, "") : digits;
    return trimmed === "-0" ? "0" : trimmed;
  }

  function isNumber(value) {
    return typeof value === "number" || Boolean(value && typeof value === "object" && value["@number"]);
  }

  const numberText = (value) => (typeof value === "number" ? String(value) : value["@number"]);

  /* What somebody typed as a number: 1'000 is one; anything else stays a text, to be refused. */
  function number(text) {
    const typed = String(text).replace(/['’\s]/g, "").replace("−", "-");
    if (!/^-?\d+(\.\d+)?$/.test(typed)) return String(text);
    const digits = typed.replace(/^(-?)0+(?=\d)/, "$1");
    return isExact(digits) ? Number(digits) : { "@number": digits };
  }

  function same(one, other) {
    if (one === other) return true;
    if (typeof one !== "object" || typeof other !== "object" || !one || !other) return false;
    if (Array.isArray(one) !== Array.isArray(other)) return false;
    const keys = Object.keys(one);
    if (keys.length !== Object.keys(other).length) return false;
    return keys.every((key) => key in other && same(one[key], other[key]));
  }

  // Nodes

  let serial = 0;

  function node(kind, more) {
    return { id: ++serial, kind, not: false, ...more };
  }

  function newTest(type, op) {
    return { type, op: op || OPS[type][0], value: type === "boolean" ? "true" : "", values: [], low: "", high: "", span: "30", unit: "days" };
  }

  const newPeriod = (kind) => ({ kind, last: "30", unit: "days", except: "", from: "", to: "" });

  const make = {
    group: (op) => node("group", { op: op || "all", bare: false, children: [] }),
    event: (name) =>
      node("event", {
        names: [name || ""],
        isList: false,
        measure: "once",
        property: "",
        test: newTest("number"),
        period: newPeriod("last"),
        where: [],
        said: {},
      }),
    field: (field, type) => node("field", { field: field || "", test: newTest(type || "string") }),
    sequence: () => node("sequence", { steps: [make.step(), make.step()], period: newPeriod("last") }),
    step: () =>
      node("step", { names: [""], isList: false, where: [], after: { isBound: false, span: "1", unit: "days" }, said: {} }),
    identified: () => node("identified", { is: true }),
    consent: (purpose) => node("consent", { purpose: purpose || "", said: "yes" }),
    segment: (key) => node("segment", { key: key || "" }),
    raw: (json) => node("raw", { json }),
    filter: (kind) => ({ id: ++serial, kind: kind || "property", property: "", channel: "online", source: "", test: newTest("string") }),
  };

  function newRoot(child) {
    const root = make.group();
    root.bare = true;
    if (child) root.children.push(child);
    return root;
  }

  // Reading

  function read(rule) {
    const found = readAny(rule, 0);
    return found.kind === "group" ? found : newRoot(found);
  }

  /* Whatever would not be written back as it came becomes a raw node. */
  function readAny(json, level) {
    const found = understand(json, level);
    return found && same(write(found).rule, json) ? found : make.raw(json);
  }

  function understand(json, level) {
    if (!json || typeof json !== "object" || Array.isArray(json)) return null;
    if ("not" in json) return negated(json.not, level);
    if ("all" in json) return group("all", json.all, level);
    if ("any" in json) return group("any", json.any, level);
    if ("event" in json) return readEvent(json);
    if ("sequence" in json) return readSequence(json);
    if ("field" in json) return readField(json);
    if (typeof json.segment === "string") return make.segment(json.segment);
    return null;
  }

  function negated(json, level) {
    const inner = readAny(json, level);
    if (inner.kind === "raw" || inner.not) return null;
    inner.not = true;
    return inner;
  }

  function group(op, inner, level) {
    if (!Array.isArray(inner) || !inner.length || level > MAX_LEVEL) return null;
    const found = make.group(op);
    found.children = inner.map((json) => readAny(json, level + 1));
    return found;
  }

  function readField(json) {
    if (json.field === "@identified") {
      return json.op === "is" && typeof json.value === "boolean" ? node("identified", { is: json.value }) : null;
    }
    if (typeof json.field !== "string") return null;
    if (json.field.startsWith(CONSENT)) return readConsent(json);
    const test = readTest(json, ALL_TYPES);
    return test && node("field", { field: json.field, test });
  }

  function readConsent(json) {
    const said = Object.keys(CONSENTS).find((key) => same(CONSENTS[key], { op: json.op, ...("value" in json && { value: json.value }) }));
    return said ? node("consent", { purpose: json.field.slice(CONSENT.length), said }) : null;
  }

  function readEvent(json) {
    const found = readHappened(make.event(), json);
    if (!found) return null;
    found.period = readPeriod(json.within);
    found.said.measure = json.measure === "count";
    return found.period && readMeasure(found, json);
  }

  /* Which events: what a condition and a step of an order have in common. */
  function readHappened(found, json) {
    found.isList = Array.isArray(json.event);
    found.names = found.isList ? [...json.event] : [json.event];
    if (!found.names.length || !found.names.every((name) => typeof name === "string")) return null;
    found.said.where = "where" in json && !json.where?.length;
    found.where = Array.isArray(json.where) ? json.where.map(readFilter) : [];
    return found.where.includes(null) ? null : found;
  }

  function readSequence(json) {
    const found = make.sequence();
    found.period = readPeriod(json.within);
    found.steps = Array.isArray(json.sequence) ? json.sequence.map(readStep) : [];
    return found.period && found.steps.length && !found.steps.includes(null) ? found : null;
  }

  function readStep(json) {
    const found = json && typeof json === "object" && readHappened(make.step(), json);
    if (!found || !("after" in json)) return found || null;
    if (!json.after || !isNumber(json.after.at_most)) return null;
    return Object.assign(found, { after: { isBound: true, span: numberText(json.after.at_most), unit: json.after.unit } });
  }

  function readMeasure(found, json) {
    const measure = json.measure || "count";
    if (!MEASURES.includes(measure)) return null;
    if (measure === "count" && !("op" in json)) return found;
    const test = readTest(json, typesOfMeasure(measure, json.property));
    if (!test) return null;
    const isNever = measure === "count" && test.op === "at_most" && test.value === "0";
    return Object.assign(found, { measure: isNever ? "never" : measure, property: json.property ?? "", test });
  }

  function readFilter(json) {
    if (!json || typeof json !== "object") return null;
    const filter = make.filter();
    if ("channel" in json) return Object.assign(filter, { kind: "channel", channel: json.channel });
    if ("source" in json) return Object.assign(filter, { kind: "source", source: json.source });
    const test = readTest(json, typesOfProperty(json.property));
    return test && Object.assign(filter, { property: json.property, test });
  }

  function readTest(json, types) {
    const possible = types.filter((type) => OPS[type].includes(json.op));
    if (ANY_OPS.includes(json.op)) return newTest(types[0], json.op);
    if (!possible.length) return null;
    const test = newTest(possible.length === 1 ? possible[0] : spoken(json.value, possible), json.op);
    if (SPANS[json.op]) {
      const span = json.value?.[SPANS[json.op]];
      if (!isNumber(span)) return null;
      return Object.assign(test, { span: numberText(span), unit: json.value.unit });
    }
    if (LISTS.includes(json.op)) {
      return Array.isArray(json.value) ? Object.assign(test, { values: json.value.map(textOf) }) : null;
    }
    if (json.op === "between") {
      const [low, high] = Array.isArray(json.value) ? json.value : [];
      return Object.assign(test, { low: textOf(low), high: textOf(high) });
    }
    return Object.assign(test, { value: textOf(json.value) });
  }

  function textOf(value) {
    return isNumber(value) ? numberText(value) : String(value);
  }

  /* The type that a value speaks of, where the operator leaves it open; as the server reads it. */
  function spoken(value, possible) {
    const first = Array.isArray(value) && value.length ? value[0] : value;
    let type = possible.includes("string") ? "string" : "datetime";
    if (typeof first === "boolean") type = "boolean";
    else if (isNumber(first)) type = "number";
    return possible.includes(type) ? type : possible[0];
  }

  function readPeriod(within) {
    const period = newPeriod("ever");
    if (within === undefined) return period;
    if (!within || typeof within !== "object") return null;
    if (isNumber(within.last)) {
      const hasExcept = isNumber(within.except_last);
      Object.assign(period, { kind: hasExcept ? "before" : "last", last: numberText(within.last), unit: within.unit });
      return hasExcept ? Object.assign(period, { except: numberText(within.except_last) }) : period;
    }
    if (CALENDARS.includes(within.calendar)) return Object.assign(period, { kind: within.calendar });
    return Object.assign(period, { kind: "dates", from: within.from ?? "", to: within.to ?? "" });
  }

  function typesOfMeasure(measure, property) {
    if (!["first", "last"].includes(measure)) return ["number"];
    return property === "amount" || property === "@time" ? FIXED_TYPES[property] : ALL_TYPES;
  }

  const typesOfProperty = (property) => FIXED_TYPES[property] || ALL_TYPES;

  // Writing

  /* Returns the rule and, by path, the node that stands there. */
  function write(root) {
    const nodes = new Map();
    return { rule: writeAny(root, "", nodes), nodes };
  }

  function writeAny(one, path, nodes) {
    nodes.set(path, one);
    if (one.kind === "group" && one.bare && one.children.length === 1 && !one.not) {
      return writeAny(one.children[0], path, nodes);
    }
    const at = one.not ? join(path, "not") : path;
    nodes.set(at, one);
    const rule = writers[one.kind](one, at, nodes);
    return one.not ? { not: rule } : rule;
  }

  const join = (path, part) => (path ? `${path}.${part}` : String(part));

  const writers = {
    group: (one, path, nodes) => ({
      [one.op]: one.children.map((child, n) => writeAny(child, join(join(path, one.op), n), nodes)),
    }),
    event: writeEvent,
    sequence: writeSequence,
    consent: (one) => ({ field: CONSENT + one.purpose, ...CONSENTS[one.said] }),
    field: (one) => ({ field: one.field, ...writeTest(one.test) }),
    identified: (one) => ({ field: "@identified", op: "is", value: one.is }),
    segment: (one) => ({ segment: one.key }),
    raw: (one) => one.json,
  };

  const writeNames = ({ names, isList }) => (names.length > 1 || isList ? names.map((name) => name.trim()) : names[0].trim());

  function writeWhere(one) {
    return { ...((one.where.length || one.said.where) && { where: one.where.map(writeFilter) }) };
  }

  function writeSequence(one, path, nodes) {
    const steps = one.steps.map((step, n) => {
      nodes.set(join(join(path, "sequence"), n), step);
      const after = n && step.after.isBound && { at_most: number(step.after.span), unit: step.after.unit };
      return { event: writeNames(step), ...writeWhere(step), ...(after && { after }) };
    });
    const within = writePeriod(one.period);
    return { sequence: steps, ...(within && { within }) };
  }

  function writeEvent(one) {
    const rule = { event: writeNames(one) };
    const isCount = ["once", "never", "count"].includes(one.measure);
    if (!isCount) Object.assign(rule, { measure: one.measure, property: one.property });
    else if (one.said.measure) rule.measure = "count";
    if (one.measure === "never") Object.assign(rule, { op: "at_most", value: 0 });
    else if (one.measure !== "once") Object.assign(rule, writeTest(one.test));
    Object.assign(rule, writeWhere(one));
    const within = writePeriod(one.period);
    if (within) rule.within = within;
    return rule;
  }

  function writeFilter(filter) {
    if (filter.kind !== "property") return { [filter.kind]: filter[filter.kind] };
    return { property: filter.property, ...writeTest(filter.test) };
  }

  function writeTest(test) {
    if (ANY_OPS.includes(test.op)) return { op: test.op };
    return { op: test.op, value: writeValue(test) };
  }

  function writeValue(test) {
    const span = SPANS[test.op];
    if (span) return { [span]: number(test.span), unit: test.unit };
    if (LISTS.includes(test.op)) return test.values.map((value) => scalar(test.type, value));
    if (test.op === "between") return [scalar(test.type, test.low), scalar(test.type, test.high)];
    return scalar(test.type, test.value);
  }

  function scalar(type, text) {
    if (type === "number") return number(text);
    if (type === "boolean") return text === "true" ? true : text === "false" ? false : text;
    return text;
  }

  function writePeriod(period) {
    if (period.kind === "ever") return null;
    if (CALENDARS.includes(period.kind)) return { calendar: period.kind };
    if (period.kind === "dates") {
      return { ...(period.from && { from: period.from }), ...(period.to && { to: period.to }) };
    }
    const span = { last: number(period.last), unit: period.unit };
    return period.kind === "before" ? { ...span, except_last: number(period.except) } : span;
  }

  // What is still to be filled in

  /* Says what a condition lacks, or "". */
  function gap(one) {
    if (one.kind === "group") return one.children.length ? "" : "Add a condition to this group.";
    if (one.kind === "field") return one.field ? testGap(one.test) : "Choose a field.";
    if (one.kind === "segment") return one.key ? "" : "Choose a segment.";
    if (one.kind === "event") return eventGap(one);
    if (one.kind === "sequence") return one.steps.map(stepGap).find(Boolean) || periodGap(one.period);
    if (one.kind === "consent") return one.purpose ? "" : "Choose a purpose.";
    return "";
  }

  function stepGap(step, n) {
    if (step.names.some((name) => !name.trim())) return n ? "Choose what they did then." : "Choose what they did first.";
    if (n && step.after.isBound && !step.after.span) return "Enter how long after.";
    return step.where.map(filterGap).find(Boolean) || "";
  }

  function eventGap(one) {
    if (one.names.some((name) => !name.trim())) return "Choose what they did.";
    const isCount = ["once", "never", "count"].includes(one.measure);
    if (!isCount && !one.property) return "Choose the property.";
    const untested = one.measure === "once" || one.measure === "never";
    return (untested ? "" : testGap(one.test)) || periodGap(one.period) || one.where.map(filterGap).find(Boolean) || "";
  }

  function filterGap(filter) {
    if (filter.kind === "channel") return "";
    if (filter.kind === "source") return filter.source ? "" : "Choose the source.";
    return filter.property ? testGap(filter.test) : "Choose the property of the filter.";
  }

  function testGap(test) {
    if (ANY_OPS.includes(test.op)) return "";
    if (SPANS[test.op]) return test.span ? "" : "Enter how long.";
    if (LISTS.includes(test.op)) return test.values.length ? "" : "Enter at least one value.";
    if (test.op === "between") return test.low && test.high ? "" : "Enter both ends.";
    return String(test.value).trim() ? "" : test.type === "number" ? "Enter a number." : "Enter a value.";
  }

  function periodGap(period) {
    if (period.kind === "last") return period.last ? "" : "Enter how long ago.";
    if (period.kind === "before") return period.last && period.except ? "" : "Enter both ends of the period.";
    if (period.kind === "dates") return period.from || period.to ? "" : "Enter a date.";
    return "";
  }

  return {
    OPS, ANY_OPS, SPANS, LISTS, UNITS, ALL_TYPES, MAX_LEVEL,
    parse, stringify, read, write, make, newRoot, newTest, gap, typesOfMeasure, typesOfProperty,
  };
})();
