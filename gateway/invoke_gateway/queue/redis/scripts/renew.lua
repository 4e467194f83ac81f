-- renew: renew a gateway's lease, and release the claims of dead gateways. ARGV: session, lease (ms), the store's id as the
-- gateway has it, or nothing; an id for a store without one; the most claims to release.
-- Returns the store's id, the number of the last notification, whether dead gateways have more claims, and then each lane that
-- received events, with their number and the earliest due_at; or FENCED, where the session has lost its lease.
local LEASE, KNOWN, MOST = tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[5])
local time = call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local born = call('HGET', STATE, 'born')
local is_known = born and KNOWN == born
if is_known and not is_leased(SESSION) then
  return 'FENCED'
end

-- Where no lease at all was renewed for half a lease, the store was unavailable (or its clock jumped), not the gateways: then
-- each gets a whole lease.
if is_known then
  local freshest = call('ZREVRANGE', LEASES, 0, 0, 'WITHSCORES')
  if tonumber(freshest[2]) < now + LEASE / 2 then
    for _, session in ipairs(call('ZRANGE', LEASES, 0, -1)) do
      call('ZREM', LEASES, session)
      call('ZADD', LEASES, now + LEASE, session)
    end
  end
end
call('ZREM', LEASES, SESSION)
call('ZADD', LEASES, now + LEASE, SESSION)
if not born then
  born = ARGV[4]
  call('HSET', STATE, 'born', born)
end

call('HSET', TURNS, SESSION .. '/lease', LEASE)

-- A lease that lasts longer than its length was given before the store's clock was set back.
for _, session in ipairs(call('ZRANGEBYSCORE', LEASES, '(' .. now + LEASE, '+inf')) do
  local given = tonumber(call('HGET', TURNS, session .. '/lease') or 'inf')
  if given and tonumber(call('ZSCORE', LEASES, session)) > now + given then
    call('ZREM', LEASES, session)
    call('ZADD', LEASES, now + given, session)
  end
end

local more = '0'
for _, dead in ipairs(call('ZRANGEBYSCORE', LEASES, '-inf', now)) do
  for _, event in ipairs(call('HKEYS', BASE .. ':of:' .. dead)) do
    if MOST == 0 then
      more = '1'
      break
    end
    MOST = MOST - 1
    release(event)
  end
  if more == '1' then
    break
  end
  call('ZREM', LEASES, dead)
  call('HDEL', TURNS, dead, dead .. '/put', dead .. '/lease')
end
publish()

local reply = { born, call('HGET', STATE, 'news') or '0', more }
for lane, arrived in pairs(arrivals) do
  reply[#reply + 1], reply[#reply + 2], reply[#reply + 3] = lane, arrived[1], arrived[2]
end
return reply
