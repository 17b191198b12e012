// The segment builder: the page's Alpine component. What a rule is, stands in rules.js.
"use strict";

(() => {
  const WAIT = 400; // milliseconds without a change before the rule is counted

  const OP_WORDS = {
    is: "is", is_not: "is not", one_of: "is one of", none_of: "is none of",
    contains: "contains", not_contains: "does not contain",
    starts_with: "starts with", ends_with: "ends with",
    at_least: "is at least", at_most: "is at most", more_than: "is more than", less_than: "is less than",
    between: "is between", before: "is before", after: "is after",
    in_last: "is in the last", not_in_last: "is not in the last", in_next: "is in the next",
    anniversary_in_next: "has its anniversary in the next",
    exists: "is known", missing: "is not known",
  };
  const TYPE_WORDS = { string: "Text", number: "Number", datetime: "Date", boolean: "Yes or no", any: "Any" };
  const MEASURES = [
    ["once", "at least once"],
    ["never", "never"],
    ["count", "a number of times"],
    ["sum", "with a total"],
    ["average", "with an average"],
    ["min", "with the smallest"],
    ["max", "with the largest"],
    ["distinct", "with a number of different"],
    ["first", "the first time, with"],
    ["last", "the last time, with"],
  ];
  const PERIODS = [
    ["last", "in the last"],
    ["ever", "ever"],
    ["today", "today"],
    ["this_week", "this week"],
    ["this_month", "this month"],
    ["this_year", "this year"],
    ["dates", "between dates"],
    ["before", "in an earlier period"],
  ];

  const CONSENTS = [
    ["yes", "have agreed to"],
    ["no", "have refused"],
    ["silent", "have not yet said yes or no to"],
    ["decided", "have said yes or no to"],
  ];

  const { make } = CdpRules;

  function grouped(number) {
    return String(number).replace(/\B(?=(\d{3})+(?!\d))/g, "'");
  }

  function slug(text) {
    const spelled = text.toLowerCase().replace(/[äöü]/g, "$&e");
    const plain = spelled.normalize("NFKD").replace(/[\u0300-\u036f]/g, "");
    return plain.replace(/[^a-z0-9]+/g, "-").replace(/^-+|-+$/g, "").slice(0, 50).replace(/-+$/, "");
  }

  function segmentBuilder() {
    const setup = CdpRules.parse(document.getElementById("segment-setup").textContent);
    return {
      ...setup,
      root: CdpRules.read(setup.rule ?? { all: [] }),
      step: setup.isNew ? "start" : "build",
      keyIsOwn: !setup.isNew,
      measures: MEASURES,
      periods: PERIODS,
      consents: CONSENTS,
      units: CdpRules.UNITS,
      lists: {}, // suggestions by what they are for
      found: null, // the last preview
      state: "idle", // of the preview: idle, incomplete, counting, done, slow, failed
      problems: {}, // of name and key
      fault: null, // of the rule: {id, rest, message}
      dialog: null,
      isSaving: false,
      json: { text: "", problem: "" },
      quoted: {},

      page: {}, // where to ask for what

      init() {
        this.page = { ...this.$root.dataset }; // in a nested scope, $root is another element
        this.start = this.text();
        this.told = null;
        Alpine.effect(() => {
          const [text, audience] = [this.text(), this.audience];
          queueMicrotask(() => this.follow(text, audience)); // what it reads is not to be followed
        });
        window.addEventListener("beforeunload", (event) => {
          if (!this.isSaving && this.isChanged()) event.preventDefault();
        });
      },

      text() {
        return CdpRules.stringify(CdpRules.write(this.root).rule);
      },

      isChanged() {
        const isNamed = this.name !== setup.name || this.audience !== setup.audience;
        return isNamed || this.text() !== this.start;
      },

      // Preview

      follow(text, audience) {
        const asked = `${audience} ${text}`;
        if (asked === this.told) return;
        this.told = asked;
        clearTimeout(this.timer);
        this.request?.abort();
        this.fault = null;
        if (this.step === "start") return;
        if (this.gaps().size) {
          this.state = "incomplete";
          return;
        }
        this.state = "counting";
        this.timer = setTimeout(() => this.count(), WAIT);
      },

      async count(exact = false) {
        this.request?.abort();
        const request = (this.request = new AbortController());
        this.state = "counting";
        const { rule, nodes } = CdpRules.write(this.root);
        const quote = [...nodes].filter(([, one]) => one.kind === "raw").map(([path]) => path);
        const editing = this.isNew ? null : this.key;
        let answer;
        try {
          answer = await this.send(this.page.preview, { rule, audience: this.audience, editing, quote, exact }, request.signal);
        } catch (error) {
          if (error.name !== "AbortError") this.state = "failed";
          return;
        }
        if (request.signal.aborted) return;
        if (answer.status === 400) this.refuse(answer.body, nodes);
        else if (answer.status === 200) this.accept(answer.body, nodes);
        else this.state = "failed";
      },

      accept(found, nodes) {
        for (const [path, sentence] of Object.entries(found.quoted)) {
          this.quoted[nodes.get(path).id] = sentence;
        }
        if (found.slow) {
          this.found = { sentence: found.sentence, counts: {}, sample: [] };
          this.state = "slow";
          return;
        }
        const counts = {};
        for (const [path, count] of Object.entries(found.conditions)) {
          const one = nodes.get(path);
          if (one && one.kind !== "group") counts[one.id] = one.not ? found.total - count : count;
        }
        this.found = { ...found, counts };
        this.state = "done";
      },

      /* Puts what is wrong at the condition where it is. */
      refuse(body, nodes) {
        const parts = (body.path || "").split(".");
        let length = parts.length;
        while (length > 0 && !nodes.has(parts.slice(0, length).join("."))) length--;
        const one = nodes.get(parts.slice(0, length).join(".")) || this.root;
        this.fault = { id: one.id, rest: parts.slice(length).join("."), message: body.message };
        this.state = "refused";
      },

      isFaulty(one, ...places) {
        if (this.fault?.id !== one.id) return false;
        return places.some((place) => this.fault.rest === place || this.fault.rest.startsWith(`${place}.`));
      },

      async send(url, body, signal) {
        const response = await fetch(url, {
          method: "POST",
          headers: { "Content-Type": "application/json", "X-CSRFToken": this.page.csrf },
          body: CdpRules.stringify(body),
          signal,
        });
        const isJson = response.headers.get("Content-Type")?.includes("json");
        return { status: response.status, body: isJson ? await response.json() : {} };
      },

      // What stands beside it

      gaps() {
        const found = new Map();
        const look = (one) => {
          const gap = CdpRules.gap(one);
          if (gap) found.set(one.id, gap);
          if (one.kind === "group") one.children.forEach(look);
        };
        look(this.root);
        return found;
      },

      hint(one) {
        return this.state === "incomplete" ? CdpRules.gap(one) : "";
      },

      isFresh() {
        return this.state === "done" && this.found && "count" in this.found;
      },

      countBeside(one) {
        const count = this.found?.counts?.[one.id];
        return count === undefined ? "" : grouped(count);
      },

      share() {
        return this.found?.total ? (100 * this.found.count) / this.found.total : 0;
      },

      shareText() {
        const share = this.share();
        if (!share) return "0 %";
        return share < 1 ? "under 1 %" : `${Math.round(share)} %`;
      },

      grouped,

      // Choices

      fieldOf(name) {
        return this.choices.fields.find((field) => field.name === name);
      },

      ops(types) {
        const groups = types.map((type) => ({
          label: TYPE_WORDS[type],
          options: CdpRules.OPS[type].map((op) => ({ value: `${type}:${op}`, text: OP_WORDS[op] })),
        }));
        const any = CdpRules.ANY_OPS.map((op) => ({ value: `any:${op}`, text: OP_WORDS[op] }));
        return [...groups, { label: TYPE_WORDS.any, options: any }];
      },

      fieldOps(one) {
        const type = this.fieldOf(one.field)?.type;
        return this.ops(type ? [type] : CdpRules.ALL_TYPES);
      },

      measureOps(one) {
        const types = CdpRules.typesOfMeasure(one.measure, one.property);
        if (one.measure !== "count") return this.ops(types);
        return this.ops(types).filter((group) => group.label === TYPE_WORDS.number);
      },

      filterOps(one, filter) {
        const types = CdpRules.typesOfProperty(filter.property);
        const type = this.propertyOf(one, filter.property)?.type;
        return this.ops(type ? [type, ...types.filter((other) => other !== type)] : types);
      },

      opOf(test) {
        return CdpRules.ANY_OPS.includes(test.op) ? `any:${test.op}` : `${test.type}:${test.op}`;
      },

      chooseOp(test, chosen) {
        const [type, op] = chosen.split(":");
        if (type !== "any" && type !== test.type) this.retype(test, type, op);
        test.op = op;
        if (CdpRules.LISTS.includes(op) && test.value && !test.values.length) test.values = [test.value];
      },

      retype(test, type, op) {
        const typed = type === "boolean" || test.type === "boolean" ? {} : { value: test.value };
        Object.assign(test, CdpRules.newTest(type, op), typed);
      },

      chooseField(one, name) {
        one.field = name;
        this.retype(one.test, this.fieldOf(name)?.type || "string");
      },

      chooseMeasure(one, measure) {
        one.measure = measure;
        const isCount = ["once", "never", "count"].includes(measure);
        one.property = isCount ? "" : one.property || (measure === "distinct" ? "" : "amount");
        if (measure === "distinct" && one.property === "amount") one.property = "";
        this.fitTest(one);
        if (measure === "count" && !one.test.value) one.test.value = "2";
      },

      chooseProperty(one, property) {
        one.property = property;
        this.fitTest(one);
      },

      /* A comparison that fits what is measured now. */
      fitTest(one) {
        const possible = CdpRules.typesOfMeasure(one.measure, one.property);
        const wanted = this.propertyOf(one, one.property)?.type;
        if (!possible.includes(one.test.type)) {
          this.retype(one.test, possible.includes(wanted) ? wanted : possible[0]);
        }
      },

      chooseFilter(one, filter, property) {
        filter.property = property;
        const types = CdpRules.typesOfProperty(property);
        const type = this.propertyOf(one, property)?.type || types[0];
        const wanted = types.includes(type) ? type : types[0];
        if (filter.test.type !== wanted && !filter.test.value) this.retype(filter.test, wanted);
      },

      chooseFilterKind(filter, chosen) {
        filter.kind = chosen;
        if (chosen === "source" && !filter.source) filter.source = this.choices.sources[0]?.key || "";
      },

      choosePeriod(one, kind) {
        one.period.kind = kind;
        if (kind === "before" && !one.period.except) {
          Object.assign(one.period, { last: "14", except: "7", unit: "days" });
        }
      },

      newFilter: () => make.filter(),
      newStep: () => make.step(),

      removeStep(one, step) {
        one.steps.splice(one.steps.indexOf(step), 1);
      },

      isMeasured: (one) => !["once", "never", "count"].includes(one.measure),
      isCompared: (one) => !["once", "never"].includes(one.measure),
      isSpan: (test) => test.op in CdpRules.SPANS,
      isList: (test) => CdpRules.LISTS.includes(test.op),
      isScalar(test) {
        const other = this.isSpan(test) || this.isList(test) || test.op === "between";
        return !other && !CdpRules.ANY_OPS.includes(test.op);
      },

      /* A date of the calendar gets a calendar; a moment as programs write it stays a text. */
      inputType: (test, value) => (test.type === "datetime" && /^(\d{4}-\d{2}-\d{2})?$/.test(value) ? "date" : "text"),
      dateType: (value) => (/^(\d{4}-\d{2}-\d{2})?$/.test(value) ? "date" : "text"),
      inputMode: (test) => (test.type === "number" ? "decimal" : "text"),

      unitBeside(one) {
        return one.property === "amount" ? this.choices.currency : "";
      },

      addValue(test, input) {
        const value = input.value.trim();
        if (value && !test.values.includes(value)) test.values.push(value);
        input.value = "";
      },

      // Suggestions

      eventKey: (one) => `event ${JSON.stringify(one.names)}`,

      propertiesOf(one) {
        return this.lists[this.eventKey(one)] || [];
      },

      propertyOf(one, name) {
        return this.propertiesOf(one).find((property) => property.name === name);
      },

      async learnProperties(one) {
        if (!one.names.some((name) => name.trim())) return;
        const query = one.names.map((name) => `event=${encodeURIComponent(name.trim())}`).join("&");
        await this.learn(this.eventKey(one), query, "properties");
      },

      async learnValues(one) {
        if (this.fieldOf(one.field)?.type !== "string") return;
        await this.learn(`field ${one.field}`, `field=${encodeURIComponent(one.field)}`, "values");
      },

      async learn(key, query, member) {
        if (key in this.lists) return;
        this.lists[key] = [];
        try {
          const response = await fetch(`${this.page.suggest}?${query}`);
          if (response.ok) this.lists[key] = (await response.json())[member];
        } catch {
          delete this.lists[key]; // suggestions are a help; without them one types
        }
      },

      suggestedValues(one, filter) {
        if (one.kind === "field") return this.lists[`field ${one.field}`] || [];
        const name = filter ? filter.property : one.property;
        return this.propertyOf(one, name)?.values || [];
      },

      // Editing

      add(group, kind) {
        const { fields, segments } = this.choices;
        const first = { field: fields.find((field) => field.type === "string") || fields[0], segment: segments[0] };
        const made = {
          event: () => make.event(),
          sequence: () => make.sequence(),
          consent: () => make.consent(this.choices.purposes[0]?.key),
          field: () => make.field(first.field?.name, first.field?.type),
          segment: () => make.segment(first.segment?.key),
          identified: () => make.identified(),
          group: () => Object.assign(make.group(group.op === "all" ? "any" : "all"), { children: [make.event()] }),
        }[kind]();
        group.children.push(made);
        this.focus(made);
      },

      copy(group, one) {
        const copied = CdpRules.read({ all: [CdpRules.write(one).rule] }).children[0];
        group.children.splice(group.children.indexOf(one) + 1, 0, copied);
        this.focus(copied);
      },

      remove(group, one) {
        group.children.splice(group.children.indexOf(one), 1);
      },

      focus(one) {
        this.$nextTick(() => {
          document.querySelector(`#node-${one.id} [data-first]`)?.focus();
        });
      },

      begin(starter) {
        this.root = starter ? CdpRules.read(starter.rule) : CdpRules.newRoot();
        this.audience = starter ? starter.audience : "everyone";
        if (starter && !this.name) this.rename(starter.name);
        this.step = "build";
        this.told = null;
        this.follow(this.text(), this.audience);
        this.$nextTick(() => document.getElementById(starter ? "builder-name" : "add-event")?.focus());
      },

      rename(name) {
        this.name = name;
        delete this.problems.name;
        if (!this.keyIsOwn) this.key = slug(name);
      },

      // For experts

      openJson() {
        this.json = { text: CdpRules.stringify(CdpRules.write(this.root).rule, 2), problem: "" };
      },

      takeJson() {
        try {
          this.root = CdpRules.read(CdpRules.parse(this.json.text));
          this.json.problem = "";
        } catch {
          this.json.problem = "This is not JSON. Look for a missing comma, quote or bracket.";
        }
      },

      // Saving

      async save() {
        if (this.isSaving) return;
        if (!this.name.trim()) {
          this.problems = { name: "Give the segment a name." };
          document.getElementById("builder-name").focus();
          return;
        }
        if (this.gaps().size) {
          this.state = "incomplete";
          this.show([...this.gaps().keys()].at(-1));
          return;
        }
        const isSame = this.text() === this.start && this.audience === setup.audience;
        if (this.isNew || isSame) await this.store();
        else await this.review();
      },

      async review() {
        this.dialog = { state: "counting", entering: 0, leaving: 0 };
        this.$refs.review.showModal();
        const { rule, nodes } = CdpRules.write(this.root);
        const answer = await this.send(this.page.review, { rule, audience: this.audience }).catch(() => null);
        if (answer?.status === 200) this.dialog = { state: "done", ...answer.body };
        else this.stumble(answer, nodes);
      },

      async store() {
        this.isSaving = true;
        const { rule, nodes } = CdpRules.write(this.root);
        const body = { name: this.name, key: this.key, audience: this.audience, version: this.version, rule };
        const answer = await this.send(location.href, body).catch(() => null);
        if (answer?.status === 200) {
          location.href = answer.body.next;
          return;
        }
        this.isSaving = false;
        this.stumble(answer, nodes);
      },

      /* Saving did not work: shows why, where it is. */
      stumble(answer, nodes) {
        this.$refs.review?.close();
        if (answer?.body.fields) {
          this.problems = answer.body.fields;
          if (this.problems.key) this.keyIsOwn = true;
          this.$nextTick(() => document.querySelector("[aria-invalid=true]")?.focus());
        } else if (answer?.status === 400 && answer.body.message) {
          this.refuse(answer.body, nodes);
          this.show(this.fault.id);
        } else {
          this.problems = { name: "It could not be saved: the server did not answer as it should. Try again." };
        }
      },

      show(id) {
        this.$nextTick(() => document.getElementById(`node-${id}`)?.scrollIntoView({ block: "center", behavior: "smooth" }));
      },
    };
  }

  document.addEventListener("alpine:init", () => Alpine.data("segmentBuilder", segmentBuilder));
})();
