-- oldest: the first events of a lane, claimed or not. ARGV: session, lane, most. Returns as `read` does.
local LANE, MOST = ARGV[2], tonumber(ARGV[3])
local first = {}
for _, kind in ipairs({ ':new:', ':due:' }) do
  local found = call('ZRANGE', BASE .. kind .. LANE, 0, MOST - 1, 'WITHSCORES')
  for i = 1, #found, 2 do
    first[#first + 1] = { found[i], tonumber(found[i + 1]), 0 }
  end
end
local claims = call('HGETALL', CLAIMS)
for i = 1, #claims, 2 do
  local _, due, _, _, lane = parse(claims[i + 1])
  if lane == LANE then
    first[#first + 1] = { claims[i], tonumber(due), 1 }
  end
end
table.sort(first, function(a, b)
  return a[2] < b[2] or (a[2] == b[2] and a[1] < b[1])
end)
local reply = {}
for i = 1, math.min(#first, MOST) do
  local head, body = read(first[i][1])
  if head then
    local at = #reply
    reply[at + 1], reply[at + 2], reply[at + 3], reply[at + 4] = first[i][1], head, body, first[i][3]
  end
end
return reply
