-- enqueue: store new events. ARGV: session, the number of this batch, the bound on all events, the server process;
-- then of each event: the number of its claim or nothing, lane, due_at, received_at, retried (0 or 1), head, body.
-- Returns the number of the first event, and how many of them, from the first on, were stored; or FENCED, where some are to
-- be claimed and the session has lost its lease. A batch that was stored already (its reply was lost) is not stored again.
local BATCH, MAXIMUM, RUN, FIELDS = tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], 7

local last = call('HGET', TURNS, SESSION .. '/put')
if last then
  local batch, first, kept = string.match(last, '^(%d+) (%d+) (%d+)$')
  if BATCH <= tonumber(batch) then
    return { first, kept }
  end
end
local has_lease = is_leased(SESSION)
local count = (#ARGV - 4) / FIELDS
for i = 0, count - 1 do
  if ARGV[5 + i * FIELDS] ~= '' and not has_lease then
    return 'FENCED'
  end
end
local kept = math.max(0, math.min(count, MAXIMUM - call('XLEN', EVENTS)))
if kept == 0 then
  return { '0', '0' }
end
-- A server that has lost its last events (or all) must not reuse their numbers: a gateway may still have some. In another
-- server process the numbers go on from the microseconds since the epoch, which are above all earlier numbers.
if call('HGET', STATE, 'run') ~= RUN then
  local time = call('TIME')
  local from = math.max(tonumber(call('GET', SEQ) or 0), time[1] * 1000000 + time[2])
  call('SET', SEQ, string.format('%.0f', from))
  call('HSET', STATE, 'run', RUN)
end
local first = call('INCRBY', SEQ, kept) - kept + 1
for i = 0, kept - 1 do
  local at = 5 + i * FIELDS
  local event = string.format('%016.0f', first + i)
  call('XADD', EVENTS, id_of(event), 'h', ARGV[at + 5], 'b', ARGV[at + 6])
  if ARGV[at] == '' then
    enter(event, ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4])
  else
    claim(event, ARGV[at], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4], ARGV[at + 1])
  end
end
publish()
local reply = { string.format('%.0f', first), tostring(kept) }
if has_lease then
  call('HSET', TURNS, SESSION .. '/put', string.format('%.0f', BATCH) .. ' ' .. reply[1] .. ' ' .. reply[2])
end
return reply
