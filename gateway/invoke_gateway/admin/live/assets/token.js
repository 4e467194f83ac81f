"use strict";
// Requests to the gateway, with the admin token where the page has one. The token lasts as long as the tab, and is never in an address.
const TOKEN = "invoke-gateway-admin-token";
let adminToken = readToken();
function readToken() {
  try { return sessionStorage.getItem(TOKEN) || ""; } catch { return ""; }  // a browser may allow no storage
}
function keepToken(text) {
  adminToken = text;
  try { sessionStorage.setItem(TOKEN, text); } catch { /* then the page asks again after a reload */ }
}
function request(path, signal) {
  return fetch(path, {signal, headers: adminToken ? {Authorization: "Bearer " + adminToken} : {}});
}
function showTokenForm(isShown) {
  const form = $("token"), wasShown = !form.hidden;
  form.hidden = !isShown;
  if (!isShown || wasShown) return;
  say($("token-text"), adminToken ? "This token is not the right one. Ask who runs the gateway for the admin token." :
    "This gateway shows its state to clients with its admin token only (admin_reads: token).");
  $("token-input").value = "";
  $("token-input").focus();
}
$("token").addEventListener("submit", event => {
  event.preventDefault();
  const given = $("token-input").value.trim();
  if (!given) return;
  keepToken(given);
  showTokenForm(false);
  connect();
});

// Server-sent events by fetch: an EventSource cannot send the token. `on` has: message(text), end(), lost(why, milliseconds until the
// next attempt), refused() where the token is missing or wrong.
function openStream(path, on) {
  const stop = new AbortController();
  readStream(path, on, stop.signal).catch(() => { if (!stop.signal.aborted) on.lost("", 1000); });
  return {close: () => stop.abort()};
}
async function readStream(path, on, signal) {
  const answer = await request(path, signal);
  if (answer.status === 401) { on.refused(); return; }
  if (!answer.ok) { on.lost((await answer.json()).error, 3000); return; }
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const {value, done} = await reader.read();
    if (done) break;
    const events = (text + value).split("\n\n");
    text = events.pop();
    for (const event of events) readEvent(event, on);
  }
  on.lost("", 1000);
}
function readEvent(event, on) {
  if (event.startsWith("data: ")) on.message(event.slice(6));
  else if (event.startsWith("event: end")) on.end();
}
