"use strict";
// The head line: is a call refused now, and why; what is degraded; which gateway this is.
const CAUSES = {
  restart_needed: "The settings file has changes that need a restart.",
  store_unavailable: "The store of shared counters does not reply.",
  store_recovering: "The shared counters are being rebuilt after a restart of the store.",
  limits_mismatch: "A gateway on the same store has other limits.",
  event_store: "The store of events cannot keep any.",
  events_held: "The store holds events of another backend. Run them: invoke-gateway queue adopt",
  backend_refuses_events: "The backend refuses events until a setting is changed. See the log.",
  background_task: "A background task has failed and is started again. See the log.",
};
const time = seconds => clock.format(new Date(seconds * 1000));
function settingsText(error) {
  if (!error) return "The settings file was refused, and the old settings stay in force. See the log.";
  const more = error.problems > 1 ? ` (and ${count.format(error.problems - 1)} more)` : "";
  return `Settings file refused at ${time(error.at)}: ${error.problem}${more}. `
    + `The settings of ${time(error.in_force_since)} stay in force; correct the file and reload.`;
}
function listProblems({gateway, degraded, settings_error}) {
  const problems = [];
  if (gateway.backend === "down") problems.push(`The backend is down. ${gateway.backend_error || ""}`.trim());
  if (settings_error || degraded.includes("settings_invalid")) problems.push(settingsText(settings_error));
  for (const cause of degraded) if (cause !== "settings_invalid") problems.push(CAUSES[cause] || `Degraded: ${cause}.`);
  return problems;
}
function refusedNow(refusal) {
  const name = refusedName(refusal);
  return `${name}${name ? " " : ""}${rate(refusal.per_second)}/s, ${refusalWords(refusal)}`;
}
// The function of the head line stays while it is among the most refused: a line that changes twice a second is not read.
let named = "";
function orderRefusals(refusals) {
  const key = one => [one.account, one.function, one.reason].join();
  const kept = refusals.find(one => key(one) === named && one.per_second >= refusals[0].per_second / 2);
  const first = kept || refusals[0];
  named = first ? key(first) : "";
  return first ? [first, ...refusals.filter(one => one !== first).sort((one, other) => key(one) < key(other) ? -1 : 1)] : [];
}
function drawVerdict(update) {
  const now = update.refusing_now, throttles = now.filter(one => one.is_throttle), others = now.filter(one => !one.is_throttle);
  const box = $("verdict"), problems = listProblems(update), left = update.refusing_now_left_out;
  const first = orderRefusals(throttles.length ? throttles : others);
  box.hidden = false;
  box.dataset.state = now.length ? "refusing" : problems.length ? "degraded" : "quiet";
  const head = throttles.length ? "Throttling now" : others.length ? "Refusing now" : "Nothing is refused";
  say($("headline"), first.length ? `${head}: ${refusedNow(first[0])}` : head);
  setTitle($("headline"), first.length ? first[0].reason : "");
  const more = first.slice(1).concat(throttles.length ? others : []);
  const list = $("refusing");
  draft(list, [...more.map(refusedNow), ...(left ? [`and ${count.format(left)} more`] : [])], () => make("li"));
  more.forEach((one, index) => setTitle(list.children[index], one.reason));
  list.hidden = !list.children.length;
  draft($("problems"), problems, () => make("li"));
  $("problems").hidden = !problems.length;
  // Without rates: a screen reader is told of a change, not of every number.
  say($("announce"), [head, ...now.map(one => `${refusedName(one)}, ${refusalWords(one)}`), ...problems].join(". "));
  drawFacts(update);
}
function drawFacts({gateway, workers, shared}) {
  const facts = [
    ["Version", gateway.version],
    ["Backend", `${gateway.backend_url}, ${gateway.backend}`],
    ["Uptime", longAge(Math.max(0, Date.now() / 1000 - gateway.started_at))],
    ...(gateway.name ? [["Gateway", gateway.name + (shared && shared.gateways > 1 && !workers ? ` of ${count.format(shared.gateways)}` : "")]] : []),
    ...(workers ? [["Workers", count.format(workers.length)]] : []),
  ];
  const list = $("facts");
  while (list.children.length > facts.length) list.lastChild.remove();
  facts.forEach(([name, value], index) => {
    const pair = list.children[index] || list.appendChild(make("div"));
    if (!pair.children.length) pair.append(make("dt"), make("dd"));
    say(pair.children[0], name);
    say(pair.children[1], value);
  });
}
// Without a connection nothing is known of now.
function forgetVerdict() {
  $("verdict").dataset.state = "unknown";
  say($("headline"), "Not connected: what is refused now is not known");
  $("refusing").hidden = true;
}

// Other gateways.
function drawSharing({shared, accounts}) {
  $("sharing").hidden = !shared;
  const old = shared && shared.sums_age_seconds;
  const trouble = shared ? [shared.trouble, old ? `What other gateways run was so ${age(old)} ago.` : ""].filter(Boolean).join(" ") : "";
  $("trouble").hidden = !trouble;
  say($("trouble"), trouble);
  if (!shared) return;
  say($("sharing"), (shared.workers ? `${count.format(shared.gateways)} processes share these counters, ${shared.workers} of them workers of this gateway.`
    : shared.gateways > 1 ? `${plural(shared.gateways, "gateway")} share these counters.`
    : accounts.some(account => account.in_flight > here(account)) ? "Other gateways share these counters." // how many comes with the heartbeat
    : "No other gateway shares these counters now.")
    + ` Bars and calls in flight are of all of them, the paler part of other gateways. All else is of this one, ${shared.gateway}.`);
}
