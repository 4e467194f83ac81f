"use strict";
// The connection.
const SILENCE_MS = 10000, GONE_MS = 4000, HIDDEN_MS = 30000;
const USUAL = {top: "50", minutes: "5"};
const asked = {search: "", account: "", ...USUAL};
let source = null, heardAt = 0, lostAt = 0, retry = 0;
function show(name, text) {
  const status = $("status");
  status.dataset.state = name;
  say(status, text);
  const isStale = name === "gone" || name === "connecting" && heardAt > 0;
  document.documentElement.classList.toggle("stale", isStale);
  if (isStale) forgetVerdict();
}
function query() {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(asked)) if (value && value !== USUAL[name]) parameters.set(name, value);
  return parameters.toString();
}
function connect() {
  clearTimeout(retry);
  if (source) source.close();
  const mine = source = openStream("live" + (query() ? "?" + query() : ""), {
    message: text => { if (mine === source) { lostAt = 0; heardAt = Date.now(); draw(JSON.parse(text)); } },
    end: () => { if (mine === source) lose("The gateway has stopped"); },
    lost: (why, milliseconds) => { if (mine === source) { lose(why); retry = setTimeout(connect, milliseconds); } },
    refused: () => { if (mine === source) { lose("The admin token is needed"); showTokenForm(true); } },
  });
}
let whyLost = "";
function lose(why) {
  lostAt = lostAt || Date.now();
  whyLost = why || whyLost;
  showLoss();
}
function showLoss() {
  const since = heardAt ? `; numbers of ${clock.format(heardAt)}` : "";
  if (whyLost) show("gone", whyLost + since);
  else if (Date.now() - lostAt < GONE_MS) show("connecting", "Reconnecting…");
  else show("gone", "Gateway gone, trying again" + since);
}
function draw(update) {
  latest = update;
  whyLost = "";
  if (update.draining) show("draining", "Draining: no new calls are admitted");
  else show("live", "Live");
  drawVerdict(update);
  drawSharing(update);
  drawAccounts(update);
  drawFunctions(update);
  drawRefusals(update);
  drawQueue(update);
  drawDeliberate(update);
  drawWorkers(update);
}
setInterval(() => {
  if (lostAt) showLoss();
  else if (source && heardAt && Date.now() - heardAt > SILENCE_MS) { lose(); connect(); }
}, 1000);
// A hidden page closes its connection.
let hiding = 0;
document.addEventListener("visibilitychange", () => {
  clearTimeout(hiding);
  if (!document.hidden) { if (!source) connect(); return; }
  hiding = setTimeout(() => { source.close(); source = null; lostAt = 0; clearTimeout(retry); show("connecting", "Paused while hidden"); }, HIDDEN_MS);
});

// What is asked for, also in the address, so that it can be kept and passed on.
function ask() {
  asked.search = $("search").value.trim();
  asked.account = $("account").value;
  asked.top = $("top").value;
  history.replaceState(null, "", location.pathname + (query() ? "?" + query() : ""));
  connect();
}
let typing = 0;
$("search").addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(ask, 150); });
$("account").addEventListener("change", ask);
$("top").addEventListener("change", ask);
for (const button of document.querySelectorAll(".range button")) button.addEventListener("click", () => {
  asked.minutes = button.dataset.minutes;
  showRange();
  ask();
});
function showRange() {
  for (const button of document.querySelectorAll(".range button")) button.setAttribute("aria-pressed", String(button.dataset.minutes === asked.minutes));
}
$("tools").addEventListener("submit", event => { event.preventDefault(); ask(); });
document.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const search = $("search"), at = document.activeElement;
  if (event.key === "/" && !at.matches("input, select")) { event.preventDefault(); search.focus(); search.select(); }
  else if (event.key === "Escape") {
    if (search.value) { event.preventDefault(); search.value = ""; ask(); } else at.blur();
  } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    const buttons = [...$("functions").querySelectorAll("button.opens")], index = buttons.indexOf(at);
    const next = index >= 0 ? buttons[index + (event.key === "ArrowDown" ? 1 : -1)] : at === search && event.key === "ArrowDown" ? buttons[0] : null;
    if (next) { event.preventDefault(); next.focus(); }
    else if (index === 0) { event.preventDefault(); search.focus(); }
  }
});
const given = new URLSearchParams(location.search);
$("search").value = given.get("search") || "";
if (given.get("account")) { $("account").append(new Option(given.get("account"), given.get("account"), true, true)); $("account").hidden = false; }
if ([...$("top").options].some(option => option.value === given.get("top"))) $("top").value = given.get("top");
if (given.get("minutes") === "60") asked.minutes = "60";
Object.assign(asked, {search: $("search").value.trim(), account: $("account").value, top: $("top").value});
showRange();
connect();
