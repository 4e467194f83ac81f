"use strict";
// Accounts: one line each, the parts of the bar on click.
const accounts = new Map();
let accountsMade = 0;
// The pieces of the bar, from the left, and their legend; others' are the calls of other gateways.
const PIECES = ["r-used", "r-others", "held", "r-free", "p-used", "p-others", "held"];
const LEGEND = [
  ["r-used", "reserved, in use"], ["r-free", "reserved, idle"], ["p-used", "unreserved, in use"], ["held", "held"],
  ["p-others", "in use through other gateways"], ["free", "free"],
];
const CLAIMED = "Claimed is what is not free: all reservations, used or not, and the unreserved calls in flight (CloudWatch: "
  + "ClaimedAccountConcurrency). The bracket below the bar shows it. Where it meets the limit, further unreserved calls are throttled.";
function toggles(button, panel, onOpen) {
  button.setAttribute("aria-expanded", "false");
  button.setAttribute("aria-controls", panel.id);
  button.addEventListener("click", () => {
    const isOpen = panel.hidden;
    panel.hidden = !isOpen;
    button.setAttribute("aria-expanded", String(isOpen));
    if (onOpen) onOpen(isOpen);
  });
}
function makeAccount() {
  const id = "account-" + ++accountsMade;
  const card = make("article", "account"), name = make("h2", "name");
  const parts = {card, button: make("button", "opens"), state: make("span", "chip"), bar: make("div", "bar")};
  parts.button.type = "button";
  name.append(parts.button, parts.state);
  const load = make("p", "in-flight"), claimed = make("p", "claimed"), left = make("div", "usage");
  load.append(parts.inFlight = make("b"), parts.limit = make("span"));
  parts.help = make("button", "question", "?");
  parts.help.type = "button";
  parts.help.setAttribute("aria-label", "What is claimed?");
  claimed.append(parts.claimed = make("span"), " ", parts.help);
  parts.bar.setAttribute("role", "img");
  parts.pieces = PIECES.map(piece => parts.bar.appendChild(make("i", piece)));
  const edge = make("div", "edge");
  edge.append(parts.bracket = make("u"));
  left.append(parts.bar, edge);
  const past = make("div", "past");
  past.append(parts.spark = makeSpark());
  parts.explained = make("p", "how explained", CLAIMED);
  parts.explained.id = id + "-claimed";
  parts.explained.hidden = true;
  parts.more = make("div", "more-of");
  parts.more.id = id;
  parts.more.hidden = true;
  const legend = make("ul", "legend");
  parts.legend = LEGEND.map(([piece, text]) => {
    const item = make("li", piece === "free" ? "free" : ""), swatch = make("i", piece === "free" ? "" : piece), number = make("b");
    item.append(swatch, `${text} `, number);
    legend.append(item);
    return {item, number};
  });
  const foot = make("p", "foot-of");
  foot.append(parts.footText = make("span"), parts.throttles = make("span", "throttles"), parts.peak = make("span"));
  parts.callers = make("ul", "callers");
  parts.callers.setAttribute("aria-label", "Callers with a limit");
  parts.more.append(legend, parts.callers, foot);
  toggles(parts.button, parts.more);
  toggles(parts.help, parts.explained);
  card.append(name, load, left, claimed, past, parts.explained, parts.more);
  return parts;
}
function drawAccount(parts, account, update) {
  const {claimed, concurrent_executions: limit, reserved, unreserved: pool} = account;
  const inReserved = Math.max(0, account.in_flight - pool.in_flight), heldReserved = Math.max(0, account.holds - pool.holds);
  const isShared = account.in_flight_here !== undefined, allHere = here(account), poolHere = Math.min(here(pool), pool.in_flight);
  const reservedHere = Math.min(Math.max(0, allHere - poolHere), inReserved);
  setClass(parts.card, isShared ? "account shared" : "account");
  say(parts.button, account.account);
  parts.card.setAttribute("aria-label", "Account " + account.account);
  setTitle(parts.button, account.is_default ? "Account " + account.account + ", the default one" : "Account " + account.account);
  say(parts.inFlight, count.format(account.in_flight));
  say(parts.limit, ` of ${count.format(limit)} in flight${isShared ? `, ${count.format(allHere)} here` : ""}${account.outside_concurrency ? `, ${count.format(account.outside_concurrency)} outside` : ""}`);
  say(parts.claimed, `${count.format(claimed)} claimed`);
  const how = state(claimed, limit);
  setClass(parts.state, "chip " + how);
  say(parts.state, how === "ok" ? account.is_default ? "default" : "" : how === "near" ? `${Math.floor(share(claimed, limit))} % claimed` : pool.ceiling > 0 ? "pool full" : "no pool");
  parts.state.hidden = !parts.state.textContent;
  const idle = Math.max(0, reserved - inReserved), free = Math.max(0, limit - claimed);
  const others = [inReserved - reservedHere, pool.in_flight - poolHere];
  const numbers = [reservedHere - heldReserved, others[0], heldReserved, idle, poolHere - pool.holds, others[1], pool.holds];
  parts.pieces.forEach((piece, index) => widen(piece, numbers[index], Math.max(limit, claimed)));
  parts.bar.setAttribute("aria-label", `${claimed} of ${limit} claimed: ${reserved} reserved, of them ${inReserved} in use; ${pool.in_flight} in use by unreserved calls`
    + (isShared ? `; ${others[0] + others[1]} of those in use through other gateways` : ""));
  widen(parts.bracket, claimed, Math.max(limit, claimed));
  drawSpark(parts.spark, account.history, update, limit);
  if (parts.more.hidden) return;
  [numbers[0], idle, numbers[4], account.holds, others[0] + others[1], free].forEach((number, index) => say(parts.legend[index].number, count.format(number)));
  parts.legend[3].item.hidden = !account.holds;
  parts.legend[4].item.hidden = !isShared;
  drawCallers(parts.callers, account);
  const unnamed = Object.values(account.throttles_of_others).reduce((sum, number) => sum + number, 0);
  const throttled = Object.keys(account.throttles).length > 0;
  say(parts.footText, throttled ? `Throttled ${isShared ? "here " : ""}since the start${unnamed ? ` (${count.format(unnamed)} of functions without metrics)` : ""}:` : "Nothing throttled since the start.");
  const minutes = Math.round(update.steps * update.step_seconds / 60);
  say(parts.peak, account.history.length ? `Highest in flight ${isShared ? "here " : ""}in the last ${minutes} minutes: ${count.format(Math.max(0, ...account.history))}.` : "");
  drawThrottles(parts.throttles, account.throttles, false);
}
function drawCallers(list, account) {
  const callers = account.callers || [], left = account.callers_left_out || 0;
  draft(list, [...callers.map(() => undefined), ...(left ? [`and ${plural(left, "more caller")}`] : [])], () => make("li"));
  callers.forEach((caller, index) => {
    const item = list.children[index], how = caller.ceiling ? state(caller.in_flight, caller.ceiling) : "ok";
    say(item, `${caller.caller} ${count.format(caller.in_flight)} / ${count.format(caller.ceiling)}${caller.ceiling ? how === "ok" ? "" : " " + how : " off"}`);
    setClass(item, how === "ok" ? "" : "is-" + how);
  });
  list.hidden = !callers.length;
}
function drawThrottles(box, throttles, isOff) {
  const reasons = Object.keys(throttles).sort();
  draft(box, reasons.map(reason => `${reasonWords(reason, isOff)} ${count.format(throttles[reason])}`), () => make("span", "chip"));
  reasons.forEach((reason, index) => setTitle(box.children[index], reason));
}
function drawAccounts(update) {
  const seen = new Set();
  for (const account of update.accounts) {
    seen.add(account.account);
    let parts = accounts.get(account.account);
    if (!parts) {
      accounts.set(account.account, parts = makeAccount());
      parts.button.addEventListener("click", () => drawAccounts(latest));
      $("accounts").append(parts.card);
    }
    drawAccount(parts, account, update);
  }
  for (const [name, parts] of accounts) if (!seen.has(name)) { parts.card.remove(); accounts.delete(name); }
  let rest = $("accounts").querySelector(".nothing");
  const text = update.accounts_left_out ? `and ${plural(update.accounts_left_out, "more account")}` :
    update.accounts.length ? "" : "The settings name no such account: its calls count in the default one.";
  if (text && !rest) rest = make("p", "nothing");
  if (rest) { say(rest, text); rest.hidden = !text; $("accounts").append(rest); }
  $("accounts").hidden = false;
  offerAccounts(update);
}
function offerAccounts(update) {
  const select = $("account"), known = new Set([...select.options].map(option => option.value));
  for (const {account} of update.accounts) if (!known.has(account)) select.append(new Option(account, account));
  select.hidden = select.options.length < 3 && !select.value;
}
