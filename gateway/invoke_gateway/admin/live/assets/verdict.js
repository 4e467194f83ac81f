"use strict";
// The head line: is a call refused now, and why; what is degraded; which gateway this is.
const time = seconds => clock.format(new Date(seconds * 1000));
function settingsText(error) {
  const more = error.problems > 1 ? ` (and ${count.format(error.problems - 1)} more)` : "";
  return `Settings file refused at ${time(error.at)}: ${error.problem}${more}. `
    + `The settings of ${time(error.in_force_since)} stay in force; correct the file and reload.`;
}
// Each problem with what to do about it.
function listProblems({problems, settings_error}) {
  const listed = problems.filter(({cause}) => !(settings_error && cause === "settings_invalid"))
    .map(({problem, detail, action}) => [[problem, detail].filter(Boolean).join(" "), action]);
  return settings_error ? [[settingsText(settings_error), ""], ...listed] : listed;
}
function drawProblems(problems) {
  const list = $("problems");
  draft(list, problems.map(() => undefined), () => { const item = make("li"); item.append(make("span"), " ", make("span", "dim")); return item; });
  problems.forEach((texts, index) => texts.forEach((text, part) => say(list.children[index].children[part], text)));
  list.hidden = !problems.length;
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
  drawProblems(problems);
  // Without rates: a screen reader announces a change, not every number.
  say($("announce"), [head, ...now.map(one => `${refusedName(one)}, ${refusalWords(one)}`), ...problems.map(([problem]) => problem)].join(". "));
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
