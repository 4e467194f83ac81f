-- forgetting: a gateway's slots go back, and nothing of it stays.
-- include: listing
local function forget(gateway)
  local key = key_of(gateway)
  local held = call('HGETALL', key)
  for i = 1, #held, 2 do
    add(key, held[i], -held[i + 1])
  end
  call('DEL', key, listing_of(gateway))
  call('ZREM', LEASES, gateway)
  call('HDEL', SEQ, gateway, gateway .. '/reply', gateway .. '/run')
  call('HDEL', LIMITS, gateway)
  call('HDEL', RECOVERY, 'of/' .. gateway)
end
