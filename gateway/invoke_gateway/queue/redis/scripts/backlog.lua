-- backlog: count the unclaimed events of some lanes. ARGV: session, a cursor, which is 0 at first.
-- Returns the next cursor, 0 at the end, and then of each lane: its name, how many events, how many of them retried, the
-- earliest due_at, the earliest received_at.
local scanned = call('SSCAN', LANES, ARGV[2], 'COUNT', 200)
local reply = { scanned[1] }

local function lower(a, b)
  if a and b then
    return tonumber(a) < tonumber(b) and a or b
  end
  return a or b
end

for _, lane in ipairs(scanned[2]) do
  local fresh, due, age = BASE .. ':new:' .. lane, BASE .. ':due:' .. lane, BASE .. ':age:' .. lane
  local events = call('ZCARD', fresh) + call('ZCARD', due)
  if events == 0 then
    call('SREM', LANES, lane)
  else
    local first = call('ZRANGE', fresh, 0, 0, 'WITHSCORES')[2]
    local at = #reply
    reply[at + 1], reply[at + 2], reply[at + 3] = lane, events, call('SCARD', BASE .. ':retried:' .. lane)
    reply[at + 4] = lower(first, call('ZRANGE', due, 0, 0, 'WITHSCORES')[2])
    reply[at + 5] = lower(first, call('ZRANGE', age, 0, 0, 'WITHSCORES')[2])
  end
end
return reply
