"use strict";
// Functions: rows, and the details of an open row.
const ORDER_MS = 4000, HOLDERS_MS = 2000, MOST_HOLDERS = 10;
const rows = new Map();
let orderedAt = 0, order = "", latest = null, rowsMade = 0;
function makeRow() {
  const row = make("tr", "row"), details = make("tr", "details");
  const parts = {row, details, holdersAt: 0, holders: null, commands: []};
  row.setAttribute("role", "row");
  details.setAttribute("role", "row");
  details.id = "details-" + ++rowsMade;
  details.hidden = true;
  const name = make("div", "name");
  name.append(parts.button = make("button", "opens"), parts.where = make("span", "where"), parts.holds = make("span", "chip hold"));
  parts.button.type = "button";
  toggles(parts.button, details, () => { parts.holdersAt = 0; drawFunctions(latest); });
  cell(row, "").append(name);
  const load = make("div", "load"), numbers = make("span", "numbers");
  numbers.append(parts.inFlight = make("b"), parts.ceiling = make("small"));
  parts.bar = make("div", "bar");
  parts.bar.append(parts.used = make("i", "used of"), parts.others = make("i", "others of"), parts.held = make("i", "held"));
  load.append(numbers, parts.bar);
  cell(row, "c-load").append(load);
  cell(row, "c-past").append(parts.spark = makeSpark());
  parts.calls = cell(row, "number c-rate");
  parts.errors = cell(row, "number c-rate");
  parts.p50 = cell(row, "number c-time");
  parts.p99 = cell(row, "number c-time");
  const refused = make("div", "refused");
  refused.append(parts.refused = make("b"), parts.throttles = make("span", "throttles"));
  cell(row, "c-refused").append(refused);
  parts.oldest = cell(row, "number c-oldest");
  parts.setBy = cell(row, "c-set");
  const td = cell(details, "");
  td.colSpan = 10;
  parts.inside = td.appendChild(make("div", "inside"));
  return parts;
}
function drawRow(parts, row, update, isNamed) {
  const {in_flight: used, ceiling, holds} = row, how = state(used, ceiling), usedHere = here(row), isShared = row.in_flight_here !== undefined;
  const isOff = row.reserved && ceiling === 0;
  const isIdle = !used && !row.calls_per_second && !row.refused_per_second;
  setClass(parts.row, "row" + (row.reserved ? " reserved" : "") + (isIdle ? " idle" : ""));
  say(parts.button, row.function);
  say(parts.where, (isOff ? OFF : row.reserved ? "reserved" : "shared pool") + (isNamed ? " · " + row.account : "")
    + (isShared && used ? ` · ${count.format(usedHere)} here` : ""));
  parts.holds.hidden = !holds;
  say(parts.holds, `${count.format(holds)} held on purpose`);
  setClass(parts.bar, "bar " + (isOff ? "ok" : how));
  widen(parts.used, usedHere - holds, ceiling);
  widen(parts.others, used - usedHere, ceiling);
  widen(parts.held, holds, ceiling);
  setClass(parts.inFlight, how === "ok" || isOff ? "" : "is-" + how);
  say(parts.inFlight, count.format(used));
  say(parts.ceiling, ` / ${count.format(ceiling)}${isOff ? " off" : how === "ok" ? "" : " " + how}`);
  drawSpark(parts.spark, row.history, update, ceiling);
  const idle = !row.calls_per_second;
  say(parts.calls, rate(row.calls_per_second));
  setClass(parts.calls, idle ? "number c-rate dim" : "number c-rate");
  say(parts.errors, idle ? row.calls_per_second === null ? "–" : "0" : rate(row.errors_per_second));
  setClass(parts.errors, row.errors_per_second ? "number c-rate is-near" : "number c-rate dim");
  say(parts.p50, duration(row.p50_seconds));
  say(parts.p99, duration(row.p99_seconds));
  setClass(parts.p50, idle ? "number c-time dim" : "number c-time");
  setClass(parts.p99, idle ? "number c-time dim" : "number c-time");
  say(parts.refused, row.refused_per_second ? rate(row.refused_per_second) + "/s" : "");
  drawThrottles(parts.throttles, row.throttles, isOff);
  say(parts.oldest, usedHere ? age(row.oldest_seconds) : "");
  say(parts.setBy, row.set_by);
  setClass(parts.setBy, row.set_by === "default" ? "c-set dim" : "c-set");
  if (!parts.details.hidden) drawDetails(parts, row, update);
}

// Details: what the limit is, who holds the slots, the commands to copy.
function quoted(word) { return /^[\w.:$/@-]+$/.test(word) ? word : "'" + word.replaceAll("'", "'\\''") + "'"; }
function listCommands(row, update) {
  const account = update.accounts.find(one => one.account === row.account);
  const options = (account && account.is_default ? "" : ` --account ${row.account}`) + (location.host === "127.0.0.1:9002" ? "" : ` --admin ${location.host}`);
  const name = quoted(row.function), free = Math.max(1, row.ceiling - row.in_flight);
  return [
    ["List its calls in flight", `invoke-gateway in-flight list ${name}${options}`],
    ...(row.ceiling ? [["Hold its free slots for 30 s: the next call is throttled", `invoke-gateway hold ${name} --slots ${free} --seconds 30${options}`]] : []),
    ...(update.fault_scripts === null ? [] : [["Throttle its next 3 calls", `invoke-gateway fault ${name} "throttle 3"${options}`]]),
    ...(update.queue === null ? [] : [["List its queued events", `invoke-gateway queue list ${name}${options}`]]),
  ];
}
function makeDetails(parts) {
  parts.text = make("p");
  parts.reasons = make("p");
  parts.list = make("table", "holders");
  parts.list.setAttribute("role", "table");
  const head = make("thead"), line = make("tr");
  head.setAttribute("role", "rowgroup");
  line.setAttribute("role", "row");
  for (const title of ["Who holds its slots", "Caller", "Through", "Age"]) {
    const th = make("th", title === "Age" ? "number" : "", title);
    th.scope = "col";
    th.setAttribute("role", "columnheader");
    line.append(th);
  }
  head.append(line);
  parts.holderRows = make("tbody");
  parts.holderRows.setAttribute("role", "rowgroup");
  parts.list.append(head, parts.holderRows);
  parts.listFoot = make("p");
  const about = make("div", "about"), commands = make("div", "commands");
  commands.append(make("h3", "", "Commands"), parts.commandList = make("ul"));
  about.append(parts.text, parts.reasons, parts.list, parts.listFoot);
  parts.inside.append(about, commands);
}
function drawDetails(parts, row, update) {
  if (!parts.text) makeDetails(parts);
  const isShared = row.in_flight_here !== undefined, peak = Math.max(0, ...row.history), minutes = Math.round(update.steps * update.step_seconds / 60);
  say(parts.text, (row.reserved && !row.ceiling ? "Its reservation is 0: every call is throttled, and none reaches the backend."
    : row.reserved ? `${plural(row.ceiling, "slot")} ${row.ceiling === 1 ? "is" : "are"} reserved for this function: it never gets more, and no other function gets them.`
    : `Shares the ${count.format(row.ceiling)} unreserved slots of account ${row.account} with all functions that have no reservation.`)
    + (row.set_by === "API" ? " Set by PutFunctionConcurrency." : row.set_by === "backend" ? " Set in the backend." : row.set_by === "file" ? " Set by the settings." : "")
    + (row.holds ? ` ${plural(row.holds, "slot")} held on purpose.` : "")
    + (isShared ? ` Of ${plural(row.in_flight, "call")} in flight ${count.format(here(row))} came through this gateway.` : "")
    + ` Highest in the last ${minutes} minutes${isShared ? " here" : ""}: ${count.format(peak)}.`);
  const reasons = Object.entries(row.throttles).map(([reason, number]) => `${reason} ${count.format(number)}`);
  say(parts.reasons, row.throttles_are_counted ? (reasons.length ? "Throttled since the start: " + reasons.join(", ") + "." : "Never throttled.")
    : "It has no metrics of its own (metric_functions, or not in the settings), so its rates, durations and throttles are not known.");
  parts.list.setAttribute("aria-label", `Slots of ${row.function}`);
  drawCommands(parts, listCommands(row, update));
  readHolders(parts, row);
}
function drawCommands(parts, commands) {
  const texts = commands.map(([, text]) => text).join("\n");
  if (parts.commandsDrawn === texts) return;
  parts.commandsDrawn = texts;
  parts.commandList.replaceChildren(...commands.map(([what, text]) => {
    const item = make("li"), line = make("div", "command"), code = make("code"), copy = make("button", "copy", "Copy");
    // A word is broken only where it is wider than the line: not between the hyphens of an option.
    for (const word of text.split(" ")) code.append(...(code.childNodes.length ? [" "] : []), make("span", "", word));
    copy.type = "button";
    copy.setAttribute("aria-label", `Copy: ${what}`);
    copy.addEventListener("click", async () => {
      let isCopied = false;
      try { await navigator.clipboard.writeText(text); isCopied = true; } catch { /* not allowed here: it is marked instead */ }
      if (!isCopied) getSelection().selectAllChildren(code);
      copy.textContent = isCopied ? "Copied" : "Marked";
      setTimeout(() => { copy.textContent = "Copy"; }, 2000);
    });
    line.append(code, copy);
    item.append(make("span", "", what), line);
    return item;
  }));
}
async function readHolders(parts, row) {
  const now = performance.now();
  if (now - parts.holdersAt < HOLDERS_MS) return;
  parts.holdersAt = now;
  try {
    const answer = await request("in-flight?" + new URLSearchParams({function: row.function, account: row.account, most: MOST_HOLDERS}));
    const document = await answer.json();
    drawHolders(parts, document.holders || [], document.left_out || 0, document.error || document.trouble || "");
  } catch { /* the state of the connection says so */ }
}
function drawHolders(parts, holders, left, trouble) {
  parts.list.hidden = !holders.length;
  setClass(parts.list, holders.some(holder => holder.gateway) ? "holders shared" : "holders");
  const body = parts.holderRows;
  while (body.children.length > holders.length) body.lastChild.remove();
  holders.forEach((holder, index) => {
    let line = body.children[index];
    if (!line) {
      line = body.appendChild(make("tr"));
      line.setAttribute("role", "row");
      for (const name of ["id", "", "", "number"]) cell(line, name);
    }
    const [who, caller, through, how] = line.children;
    say(who, holder.hold !== undefined ? `hold ${holder.hold}, ${plural(holder.slots, "slot")}` : holder.request_id || "just begun");
    say(caller, holder.hold !== undefined ? "on purpose" : holder.caller || "unsigned");
    say(through, holder.gateway ? holder.gateway + (holder.worker ? `, worker ${holder.worker}` : "") : "this gateway");
    say(how, age(holder.age_seconds));
  });
  say(parts.listFoot, [left ? `and ${count.format(left)} more` : holders.length ? "" : "No call holds a slot of this function now.", trouble].filter(Boolean).join(". "));
}

function drawFunctions(update) {
  const body = $("functions"), usual = (update.accounts.find(account => account.is_default) || {}).account;
  const keys = update.functions.map(row => row.account + "/" + row.function), wanted = new Set(keys);
  let isNew = false;
  say($("past"), `Last ${update.step_seconds * update.steps >= 3600 ? "hour" : "5 min"}${update.shared ? ", here" : ""}`);
  update.functions.forEach((row, index) => {
    const isDefault = row.account === usual;
    let parts = rows.get(keys[index]);
    if (!parts) { rows.set(keys[index], parts = makeRow()); body.append(parts.row, parts.details); isNew = true; }
    drawRow(parts, row, update, !isDefault);
  });
  for (const [key, parts] of rows) if (!wanted.has(key)) { parts.row.remove(); parts.details.remove(); rows.delete(key); }
  // Rows change places seldom, and never under a pointer or a reader's focus.
  const now = performance.now(), next = keys.join("\n");
  const isRead = body.contains(document.activeElement) || body.matches(":hover");
  if (next !== order && (isNew || (!isRead && now - orderedAt > ORDER_MS))) {
    // A moved element loses its focus: those that stand right are left where they are.
    let place = body.firstChild;
    for (const key of keys) {
      const {row, details} = rows.get(key);
      if (place === row) place = details.nextSibling;
      else if (!row.contains(document.activeElement)) { body.insertBefore(row, place); body.insertBefore(details, place); }
    }
    order = next;
    orderedAt = now;
  }
  const shown = keys.length, all = shown + update.functions_left_out;
  say($("shown"), all > shown ? `${count.format(shown)} of ${count.format(all)}, the busiest first` : plural(shown, "function"));
  $("table").hidden = !shown;
  const nothing = $("no-functions");
  nothing.hidden = shown > 0;
  if (!shown) say(nothing, asked.search ? `No function's name contains “${asked.search}”.` :
    "No function is in the settings, and none runs. Call one, and it shows here while it runs.");
}
