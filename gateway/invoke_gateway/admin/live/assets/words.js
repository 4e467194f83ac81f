"use strict";
// Words and numbers. All text comes in by textContent: names are chosen by clients.
const $ = id => document.getElementById(id);
const count = new Intl.NumberFormat();
const clock = new Intl.DateTimeFormat(undefined, {hour: "2-digit", minute: "2-digit", second: "2-digit"});
const NEAR = 0.8, OTHER = "other";

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}
function cell(row, className, text) {
  const td = make("td", className, text);
  td.setAttribute("role", "cell");
  row.append(td);
  return td;
}
// Written only when it differs, so that a screen reader and a selection are left alone.
function say(element, text) { if (element.textContent !== text) element.textContent = text; }
function setClass(element, className) { if (element.className !== className) element.className = className; }
function setTitle(element, title) { if (element.title !== title) element.title = title; }
function share(part, whole) { return whole > 0 ? Math.min(100, 100 * part / whole) : part > 0 ? 100 : 0; }
function widen(element, part, whole) { element.style.width = share(part, whole).toFixed(2) + "%"; }
function plural(number, word) { return count.format(number) + " " + word + (number === 1 ? "" : "s"); }
function age(seconds) {
  if (seconds < 10) return seconds.toFixed(1) + " s";
  if (seconds < 60) return Math.floor(seconds) + " s";
  return longAge(seconds);
}
function longAge(seconds) {
  if (seconds < 60) return Math.floor(seconds) + " s";
  if (seconds < 3600) return Math.floor(seconds / 60) + " min";
  if (seconds < 86400) return Math.floor(seconds / 3600) + " h " + String(Math.floor(seconds / 60 % 60)).padStart(2, "0") + " min";
  return Math.floor(seconds / 86400) + " d " + Math.floor(seconds / 3600 % 24) + " h";
}
function duration(seconds) {
  if (seconds === null) return "–";
  if (seconds < 0.001) return "<1 ms";
  if (seconds < 0.9995) return Math.round(seconds * 1000) + " ms";
  if (seconds < 60) return seconds.toFixed(seconds < 10 ? 1 : 0) + " s";
  return longAge(seconds);
}
function rate(perSecond) {
  if (perSecond === null) return "–";
  if (perSecond >= 10) return count.format(Math.round(perSecond));
  if (perSecond >= 0.95) return String(Math.round(perSecond * 10) / 10);
  return perSecond > 0 ? perSecond.toFixed(perSecond < 0.095 ? 2 : 1).replace("0.00", "<0.01") : "0";
}
// Where counters are shared, in_flight is over all gateways.
function here(counts) { return counts.in_flight_here === undefined ? counts.in_flight : counts.in_flight_here; }
function state(used, ceiling) { return used >= ceiling ? "full" : used >= NEAR * ceiling ? "near" : "ok"; }
function draft(parent, texts, makeItem) {
  while (parent.children.length > texts.length) parent.lastChild.remove();
  texts.forEach((text, index) => {
    const item = parent.children[index] || parent.appendChild(makeItem());
    if (text !== undefined) say(item, text);
  });
}

// AWS's reasons in words; the reason itself is their tooltip.
const BY_LIMIT = {
  concurrent_executions: "account full", unreserved_concurrent_executions: "pool full", reserved_concurrent_executions: "reservation full",
  requests_per_second: "account rate", function_requests_per_second: "function rate", caller_requests_per_second: "caller rate",
  on_demand_concurrent_executions: "on-demand full", scaling_rate: "scaling rate", caller_concurrent_executions: "caller full",
};
const BY_REASON = {
  ConcurrentInvocationLimitExceeded: "pool full", ReservedFunctionConcurrentInvocationLimitExceeded: "reservation full",
  FunctionInvocationRateLimitExceeded: "rate", ReservedFunctionInvocationRateLimitExceeded: "rate", CallerRateLimitExceeded: "caller rate",
};
const OFF = "off (reservation 0)";
function reasonWords(reason, isOff, limit) {
  if (isOff && reason === "ReservedFunctionConcurrentInvocationLimitExceeded") return OFF;
  return BY_LIMIT[limit] || BY_REASON[reason] || reason;
}
function refusalWords(refusal) {
  if (refusal.injected) return refusal.is_throttle ? "injected throttle" : "injected " + refusal.reason;
  return reasonWords(refusal.reason, refusal.is_switched_off, refusal.limit);
}
function refusedName(refusal) {
  if (!refusal.function) return refusal.example || "";
  return refusal.function !== OTHER ? refusal.function : refusal.example ? `${refusal.example} and others` : "functions without metrics";
}
