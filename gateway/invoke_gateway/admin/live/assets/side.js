"use strict";
// Refusals, in groups of one function and one reason.
const FEW_REFUSALS = 5;
const refused = new Map();
let showsAllRefusals = false;
const idOf = refusal => [refusal.account, refusal.function, refusal.reason, refusal.first_at].join();
function describeLimit(refusal) {
  if (refusal.injected) return "by a fault script";
  if (refusal.is_switched_off && refusal.ceiling === 0) return "its reservation is 0";
  if (refusal.limit) {
    const isRate = refusal.limit.endsWith("per_second");
    return isRate ? `${count.format(refusal.ceiling)} a second are used up` : `${count.format(refusal.in_use)} of ${count.format(refusal.ceiling)} in use`;
  }
  if (refusal.limit_bytes !== undefined)
    return (refusal.size_bytes !== undefined ? `${count.format(refusal.size_bytes)} bytes, ` : "") + `limit ${count.format(refusal.limit_bytes)} bytes`;
  return refusal.status ? `status ${refusal.status}` : "";
}
function makeRefusal() {
  const item = make("li"), what = make("div", "what");
  const parts = {item, what, when: make("time"), name: make("b"), times: make("span", "times"), chip: make("span", "chip")};
  what.append(parts.name, parts.times, parts.chip);
  parts.who = make("p");
  parts.why = make("p");
  item.append(what, parts.why, parts.who);
  return parts;
}
function listUsers(refusal) {
  return (refusal.occupied_by || []).map(user => {
    const held = user.held ? ` (${count.format(user.held)} on purpose)` : "";
    return `${user.function || (user.held ? "a hold of the pool" : "the pool")} ${count.format(user.slots)}${held}`;
  }).join(", ") + (refusal.others ? ` and ${plural(refusal.others, "other function")}` : "");
}
function drawRefusal(parts, refusal, several) {
  const seconds = Math.max(1, Math.round(refusal.last_at - refusal.first_at));
  setClass(parts.item, refusal.is_over ? "" : "now");
  say(parts.name, refusedName(refusal) || "no function");
  say(parts.times, `×${count.format(refusal.count)} in ${longAge(seconds)}`);
  say(parts.chip, refusalWords(refusal));
  setTitle(parts.chip, refusal.reason);
  setClass(parts.chip, refusal.is_over ? "chip" : "chip full");
  const users = listUsers(refusal), limit = describeLimit(refusal);
  say(parts.why, [limit, users ? `used by ${users}` : ""].filter(Boolean).join(", "));
  setTitle(parts.why, refusal.limit || "");
  parts.why.hidden = !parts.why.textContent;
  say(parts.who, [
    (refusal.is_over ? "last at " : "since ") + time(refusal.is_over ? refusal.last_at : refusal.first_at),
    several && refusal.account || "",
    refusal.caller ? refusal.caller === refusal.account ? "" : `caller ${refusal.caller}` : refusal.request_id ? "unsigned" : "",
  ].filter(Boolean).join(" · "));
}
function drawRefusals(update) {
  const list = $("refusals"), all = update.refusals, several = update.accounts.length + update.accounts_left_out > 1;
  const shown = showsAllRefusals ? all : all.slice(0, FEW_REFUSALS), more = $("more-refusals");
  $("no-refusals").hidden = all.length > 0;
  more.hidden = all.length <= FEW_REFUSALS;
  say(more, showsAllRefusals ? "Show fewer" : `Show ${count.format(all.length - FEW_REFUSALS)} more`);
  const keys = shown.map(idOf), wanted = new Set(keys), stands = list.matches(":hover"); // it stands still under a pointer
  if (!stands) for (const [id, parts] of refused) if (!wanted.has(id)) { parts.item.remove(); refused.delete(id); }
  let place = list.firstChild;
  shown.forEach((refusal, index) => {
    let parts = refused.get(keys[index]);
    if (!parts && !stands) { refused.set(keys[index], parts = makeRefusal()); list.insertBefore(parts.item, place); }
    if (!parts) return;
    if (!stands && parts.item !== place) list.insertBefore(parts.item, place);
    place = parts.item.nextSibling;
    drawRefusal(parts, refusal, several);
  });
}
$("more-refusals").addEventListener("click", () => { showsAllRefusals = !showsAllRefusals; drawRefusals(latest); });

// The queue of events.
const STATES = ["waiting", "retrying", "running", "delivering", "undelivered", "held"];
function drawQueue({queue}) {
  const box = $("queue");
  box.hidden = !queue;
  if (!queue) return;
  say($("queue-store"), queue.store || "");
  setTitle($("queue-store"), queue.store || "");
  $("queue-trouble").hidden = !queue.trouble;
  say($("queue-trouble"), queue.trouble || "");
  const counts = STATES.map(name => [name, queue[name] || 0]).filter(([name, number]) => number || ["waiting", "retrying", "undelivered"].includes(name));
  if (queue.oldest_seconds !== null && queue.oldest_seconds !== undefined) counts.push(["oldest", longAge(queue.oldest_seconds)]);
  const list = $("queue-counts");
  while (list.children.length > counts.length) list.lastChild.remove();
  counts.forEach(([name, number], index) => {
    const pair = list.children[index] || list.appendChild(make("div"));
    if (!pair.children.length) pair.append(make("dt"), make("dd"));
    setClass(pair, name === "undelivered" && number ? "is-near" : number ? "" : "dim");
    say(pair.children[0], name);
    say(pair.children[1], typeof number === "number" ? count.format(number) : number);
  });
  const functions = queue.functions || [], body = $("queue-rows");
  $("queue-table").hidden = !functions.length;
  while (body.children.length > functions.length) body.lastChild.remove();
  functions.forEach((row, index) => {
    let line = body.children[index];
    if (!line) {
      line = body.appendChild(make("tr"));
      line.setAttribute("role", "row");
      for (const name of ["", "number", "number", "number", "number"]) cell(line, name);
    }
    const values = [row.function, ...["waiting", "retrying", "undelivered"].map(name => row[name] ? count.format(row[name]) : "–"),
      row.oldest_seconds === null ? "–" : longAge(row.oldest_seconds)];
    values.forEach((value, at) => say(line.children[at], value));
    setClass(line.children[3], row.undelivered ? "number is-near" : "number");
  });
  const foot = [queue.left_out ? `and ${plural(queue.left_out, "more function")}` : "",
    queue.undelivered ? "See them: invoke-gateway queue list --state undelivered" : ""].filter(Boolean).join(". ");
  $("queue-foot").hidden = !foot;
  say($("queue-foot"), foot);
}

// Holds and fault scripts.
function stepWords(step) {
  if (step.pass) return `${plural(step.pass, "call")} pass`;
  const faults = [step.latency_seconds ? `${step.latency_seconds} s late` : "", step.error ? step.reason ? reasonWords(step.reason) : step.error : "",
    step.cut_after_bytes !== undefined ? `cut after ${plural(step.cut_after_bytes, "byte")}` : ""].filter(Boolean).join(", ");
  return faults + (step.repeat ? ` ×${count.format(step.repeat)}` : "") + (step.probability ? ` with probability ${step.probability}` : "");
}
function drawDeliberate({holds, holds_left_out, fault_scripts, fault_scripts_left_out}) {
  const scripts = fault_scripts || [];
  const texts = [
    ...holds.map(hold => `Hold ${hold.id}: ${plural(hold.slots, "slot")} of ${hold.function || "the unreserved pool"}, ${longAge(hold.seconds_left)} left`),
    ...(holds_left_out ? [`and ${plural(holds_left_out, "more hold")}`] : []),
    ...scripts.map(script => `Fault script ${script.id}: ${script.function || "every function"}, step ${script.position} of ${script.steps}${script.loop ? ", repeating" : ""}. `
      + `Next: ${script.next.map(stepWords).join("; ")}. ${plural(script.calls, "call")} so far, ${count.format(script.injected)} injected`),
    ...(fault_scripts_left_out ? [`and ${plural(fault_scripts_left_out, "more fault script")}`] : []),
  ];
  $("deliberate").hidden = !texts.length;
  draft($("deliberate-list"), texts, () => make("li"));
}

// Workers.
function drawWorkers({workers}) {
  $("workers").hidden = !workers;
  if (!workers) return;
  const body = $("worker-rows");
  say($("workers-count"), count.format(workers.length));
  while (body.children.length > workers.length) body.lastChild.remove();
  workers.forEach((worker, index) => {
    let line = body.children[index];
    if (!line) {
      line = body.appendChild(make("tr"));
      line.setAttribute("role", "row");
      for (const name of ["", "number", "number", "number"]) cell(line, name);
    }
    const values = [String(worker.worker), String(worker.pid), count.format(worker.in_flight),
      worker.silent_seconds === null ? longAge(worker.serving_seconds) : `silent for ${longAge(worker.silent_seconds)}`];
    values.forEach((value, at) => say(line.children[at], value));
    setClass(line.children[3], worker.silent_seconds === null ? "number" : "number is-full");
  });
}
