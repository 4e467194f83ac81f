-- claim_due: claim due events. ARGV: session, attempt, number of the claim, lane, now, most, most_bytes.
-- Returns the earliest due_at that stays in the lane, or nothing, and then event, head and body of each; or FENCED, or LATE.
local NUMBER, LANE, NOW, MOST, MOST_BYTES = ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7])
local ABOUT = 1024 -- bytes of memory that an event takes beside its texts

if not is_leased(SESSION) then
  return 'FENCED'
elseif not takes_turn(ARGV[2]) then
  return 'LATE'
end

local due = {}
for _, kind in ipairs({ ':new:', ':due:' }) do
  local found = call('ZRANGEBYSCORE', BASE .. kind .. LANE, '-inf', NOW, 'WITHSCORES', 'LIMIT', 0, MOST)
  for i = 1, #found, 2 do
    due[#due + 1] = { found[i], tonumber(found[i + 1]) }
  end
end
table.sort(due, function(a, b)
  return a[2] < b[2] or (a[2] == b[2] and a[1] < b[1])
end)

local reply, bytes = { false }, 0
for i = 1, math.min(#due, MOST) do
  local event = due[i][1]
  local head, body = read(event)
  if head then
    bytes = bytes + ABOUT + #head + #body
    if bytes > MOST_BYTES and #reply > 1 then
      break
    end
  end
  local at, received, retried = leave(event, LANE)
  if head then
    claim(event, NUMBER, at, received, retried, LANE)
    reply[#reply + 1], reply[#reply + 2], reply[#reply + 3] = event, head, body
  end
end

for _, kind in ipairs({ ':new:', ':due:' }) do
  local first = call('ZRANGE', BASE .. kind .. LANE, 0, 0, 'WITHSCORES')[2]
  if first and (not reply[1] or tonumber(first) < tonumber(reply[1])) then
    reply[1] = first
  end
end
return reply
