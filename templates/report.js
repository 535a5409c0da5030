"use strict";
(() => {
  const blocks = [...document.querySelectorAll("script.handshakes")];
  const places = new Map();
  const dialog = document.getElementById("ladder");

  /* Data of one place, read when it is first asked for. */
  function place(number) {
    if (!places.has(number)) {
      const data = JSON.parse(blocks[number].textContent);
      const rows = new Map(data.handshakes.map((row) => [row[0], row]));
      places.set(number, { ...data, rows });
    }
    return places.get(number);
  }

  /* A handshake with its strings in place; null when the page does not hold it. */
  function handshake(data, number) {
    const row = data.rows.get(number);
    if (!row) return null;
    const raw = Object.fromEntries(data.columns.map((name, at) => [name, row[at]]));
    const text = (index) => data.strings[index];
    const flight = data.flights[raw.flight];
    let at = 0;
    const messages = raw.times.map((step, index) => {
      at += step;
      const [sender, name, bytes] = flight.slice(3 * index, 3 * index + 3);
      return { from: sender ? "server" : "client", name: text(name), bytes, at, step };
    });
    const told = Object.fromEntries(["endpoint", "address", "outcome", "why", "offered", "answered",
      "version", "cipher", "library", "wire", "secret", "mqtt"].map((name) => [name, text(raw[name])]));
    return { ...raw, ...told, messages, notes: raw.notes.map(text) };
  }

  /* An element; what it holds is text, never markup. */
  function element(tag, properties = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(properties)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  }

  const milliseconds = (microseconds) =>
    microseconds < 0 ? "not measured" : `${(microseconds / 1000).toFixed(2)} ms`;

  function ladder(one) {
    const total = one.messages.reduce((sum, message) => sum + message.step, 0) || 1;
    const list = element("ol", { class: "ladder" });
    list.append(element("li", { class: "ends", "aria-hidden": "true" }, element("span", { class: "at" }),
      element("span", { class: "lane" }, element("span", {}, "client"), element("span", {}, one.endpoint))));
    for (const message of one.messages) {
      const alert = message.name.startsWith("Alert") ? " alert" : "";
      const lane = element("span", { class: "lane" }, element("span", { class: "says" },
        element("span", {}, `${message.from === "client" ? "→" : "←"} ${message.name}`),
        element("span", { class: "bytes" }, `${message.bytes} B`)));
      lane.style.paddingTop = `${(0.15 + 5 * message.step / total).toFixed(2)}rem`;
      list.append(element("li", { class: message.from + alert,
        "aria-label": `${milliseconds(message.at)}: ${message.from} sends ${message.name}, ${message.bytes} bytes` },
      element("span", { class: "at" }, milliseconds(message.at)), lane));
    }
    return list;
  }

  function facts(one) {
    const same = one.offered && one.answered
      ? (one.offered === one.answered ? " (the same)" : " (another one)") : "";
    const id = (value) => element("code", {}, value || "none");
    const rows = [
      ["Outcome", element("strong", {}, one.outcome), `: ${one.why}`],
      ...(one.notes.length ? [["Also", one.notes.join("; ")]] : []),
      ["TLS library says", one.library || "nothing"],
      ["On the wire", one.wire || "nothing to tell by"],
      ["Master secret", one.secret || "nothing to compare"],
      ["ID offered", id(one.offered)],
      ["ID answered", id(one.answered), same],
      ["Negotiated", [one.version, one.cipher].filter(Boolean).join(", ") || "nothing"],
      ["Handshake took", `${milliseconds(one.handshake)}; TCP connect ${milliseconds(one.connect)}`],
      ["Bytes", `${one.bytesIn} in, ${one.bytesOut} out`],
      ...(one.mqtt ? [["Then", one.mqtt + (one.connack < 0 ? "" : ` after ${milliseconds(one.connack)}`)]] : []),
      ["Where, when", `${one.endpoint}${one.address ? ` at ${one.address}` : ""}, ${(one.started / 1000).toFixed(3)} s after the run began; h${String(one.key).padStart(5, "0")} in results.json`],
    ];
    return element("dl", { class: "seen" }, ...rows.map(([name, ...value]) =>
      element("div", {}, element("dt", {}, name), element("dd", {}, ...value))));
  }

  const side = (caption, one) =>
    element("figure", {}, element("figcaption", {}, caption), ladder(one), facts(one));

  /* Opens the ladder of a handshake, beside that of the one which had made the session. */
  function show(title, sentence, data, number) {
    const one = handshake(data, number);
    const sides = element("div", { class: "sides" });
    if (one) {
      const maker = one.maker ? handshake(data, one.maker) : null;
      // Two listeners of one node are told apart by their addresses.
      const listeners = maker && maker.endpoint === one.endpoint && maker.address !== one.address;
      const where = (of) => (listeners ? `${of.endpoint} (${of.address})` : of.endpoint);
      if (maker) sides.append(side(`First, a full handshake with ${where(maker)} makes the session`, maker));
      const what = one.outcome === "resumed" ? "is resumed" : `comes to: ${one.outcome}`;
      sides.append(side(maker ? `Then it is offered to ${where(one)}, and ${what === "is resumed" ? what : "that " + what}`
        : one.offered ? `An ID that no full handshake of this run had issued is offered to ${one.endpoint}`
          : `A handshake without a session, with ${one.endpoint}`, one));
    } else {
      sides.append(element("p", {}, "No handshake of it is on this page. If it was measured, it is in a file beside this one."));
    }
    const close = element("button", { type: "button" }, "Close");
    close.addEventListener("click", () => dialog.close());
    dialog.replaceChildren(element("div", { class: "dialog-head" },
      element("h2", { id: "ladder-title", tabindex: "-1" }, title), close),
    ...(sentence ? [element("p", {}, sentence)] : []), sides);
    dialog.showModal();
    dialog.scrollTop = 0;
  }
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });

  /* The matrix: a grid with one cell in the tab order, moved about by arrow keys. */
  function grid(table) {
    const number = Number(table.dataset.place);
    const body = table.tBodies[0];
    const heads = table.tHead.rows[0].cells;
    const pointed = table.closest(".map").previousElementSibling;
    const size = body.rows.length;
    let current = null;
    let marked = [];

    const at = (row, column) => body.rows[row].cells[column + 1];
    const where = (cell) => [cell.parentNode.sectionRowIndex, cell.cellIndex - 1];
    const says = (cell) => {
      const [row, column] = where(cell);
      const names = [body.rows[row].cells[0].textContent, heads[column + 1].textContent];
      const unexpected = cell.classList.contains("unexpected");
      const outcome = cell.classList.item(0).replace("_", " ");
      const why = place(number).reasons[row * size + column];
      return { pair: `${names[0]} → ${names[1]}`, names,
        what: `${outcome}${unexpected ? ", not as expected" : outcome === "not measured" ? "" : ", as expected"}`, why };
    };
    const mark = (cell) => {
      marked.forEach((head) => head.classList.remove("pointed-at"));
      marked = [cell.parentNode.cells[0], heads[cell.cellIndex]];
      marked.forEach((head) => head.classList.add("pointed-at"));
      const { pair, what, why } = says(cell);
      pointed.textContent = `${pair}: ${what}${why ? `; ${why}` : ""}`;
    };
    const focus = (cell) => {
      current.tabIndex = -1;
      current = cell;
      cell.tabIndex = 0;
      name(cell);
      cell.focus();
    };
    const name = (cell) => {
      const { names, what } = says(cell);
      cell.setAttribute("aria-label", `${names[0]} to ${names[1]}: ${what}`);
    };
    const open = (cell) => {
      const [row, column] = where(cell);
      const { pair, names, what, why } = says(cell);
      const data = place(number);
      history.replaceState(null, "", `#pair=${number},${names.map(encodeURIComponent).join(",")}`);
      show(`${pair}: ${what}`, why ? why[0].toUpperCase() + why.slice(1) + "." : "",
        data, data.cells[row * size + column]);
    };
    const cellOf = (event) => event.target.closest("td[class]:not(.corner)");

    table.setAttribute("role", "grid");
    table.setAttribute("aria-readonly", "true");
    for (const row of body.rows) for (const cell of [...row.cells].slice(1)) cell.tabIndex = -1;
    current = at(0, 0);
    current.tabIndex = 0;
    name(current);
    table.closest(".map").removeAttribute("tabindex");
    body.addEventListener("mouseover", (event) => { const cell = cellOf(event); if (cell) mark(cell); });
    body.addEventListener("focusin", (event) => { const cell = cellOf(event); if (cell) mark(cell); });
    body.addEventListener("click", (event) => {
      const cell = cellOf(event);
      if (cell) { focus(cell); open(cell); }
    });
    body.addEventListener("keydown", (event) => {
      if (event.altKey || event.metaKey) return;
      const [row, column] = where(current);
      const last = size - 1;
      const to = {
        ArrowLeft: [row, column - 1], ArrowRight: [row, column + 1],
        ArrowUp: [row - 1, column], ArrowDown: [row + 1, column],
        PageUp: [Math.max(0, row - 10), column], PageDown: [Math.min(last, row + 10), column],
        Home: [event.ctrlKey ? 0 : row, 0], End: [event.ctrlKey ? last : row, last],
      }[event.key];
      if (to) {
        event.preventDefault();
        if (to.every((index) => index >= 0 && index <= last)) focus(at(...to));
      } else if (event.key === "Enter" || event.key === " ") {
        event.preventDefault();
        open(current);
      }
    });
    return (issuer, redeemer) => {
      const column = [...heads].findIndex((head, index) => index && head.textContent === redeemer);
      const row = [...body.rows].find((one) => one.cells[0].textContent === issuer);
      if (row && column > 0) { focus(row.cells[column]); open(row.cells[column]); }
    };
  }

  /* Findings by status, family and words. */
  function filters() {
    const words = document.getElementById("words");
    const found = document.getElementById("found");
    const all = document.getElementById("all");
    const buttons = [...document.querySelectorAll(".filters [aria-pressed]")];
    const checks = [...document.querySelectorAll(".check")];
    const texts = new Map();
    const text = (node) => {
      if (!texts.has(node)) texts.set(node, node.textContent.toLowerCase());
      return texts.get(node);
    };
    const pressed = (kind) => buttons.filter((button) =>
      kind in button.dataset && button.getAttribute("aria-pressed") === "true").map((button) => button.dataset[kind]);

    function apply() {
      const statuses = pressed("status");
      const families = pressed("family");
      const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
      let count = 0;
      for (const check of checks) {
        const family = check.closest(".family").dataset.family;
        let any = false;
        for (const group of check.querySelectorAll(".group")) {
          // The check's own words count for each of its groups.
          const head = text(check.querySelector("summary")) + text(check.querySelector("summary + p"));
          const fits = (!statuses.length || statuses.includes(group.dataset.status)) &&
            (!families.length || families.includes(family)) &&
            wanted.every((word) => head.includes(word) || text(group).includes(word));
          group.hidden = !fits;
          any ||= fits;
        }
        check.hidden = !any;
        if (any && wanted.length) check.open = true;
        count += any;
      }
      for (const family of document.querySelectorAll(".family"))
        family.hidden = !family.querySelector(".check:not([hidden])");
      all.hidden = !(statuses.length || families.length || wanted.length);
      found.textContent = all.hidden ? `${checks.length} checks` : `${count} of ${checks.length} checks shown`;
    }
    function reset() {
      words.value = "";
      buttons.forEach((button) => button.setAttribute("aria-pressed", "false"));
      apply();
    }
    words.addEventListener("input", apply);
    buttons.forEach((button) => button.addEventListener("click", () => {
      button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
      apply();
    }));
    all.addEventListener("click", () => { reset(); words.focus(); });
    // What a link leads to may be filtered away, or closed.
    document.querySelectorAll(".problems a").forEach((link) => link.addEventListener("click", () => {
      reset();
      const check = document.querySelector(link.getAttribute("href"))?.closest(".check");
      if (check) check.open = true;
    }));
    document.querySelector(".filters").hidden = false;
    apply();
  }

  document.documentElement.classList.add("scripted");
  document.querySelectorAll(".scripted[hidden]").forEach((node) => { node.hidden = false; });
  const openers = [...document.querySelectorAll(".matrix")].map(grid);
  filters();
  document.addEventListener("click", (event) => {
    const button = event.target.closest(".look");
    if (!button) return;
    const check = button.closest(".check");
    const message = button.closest(".variant").querySelector(".message").textContent;
    show(`${check.id}: ${button.textContent}`, message, place(0), Number(button.dataset.key.slice(1)));
  });
  const asked = /^#pair=(\d+),([^,]+),([^,]+)$/.exec(location.hash);
  if (asked) openers[Number(asked[1])]?.(decodeURIComponent(asked[2]), decodeURIComponent(asked[3]));
})();
