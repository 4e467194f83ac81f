-- holders: which gateways there are, what each holds of one counter, and the calls that it listed. Changes nothing.
--
-- Request: counter. Reply: status, gateways. A gateway is its id, ms until its slots go back (below 0: the next script
-- gives them back), slots of the counter, ms since its list was made (-1: it has none), the list.
local counter = cmsgpack.unpack(ARGV[1])[1]

-- include: listing
local gateways = {}
local leases = call('ZRANGE', LEASES, 0, -1, 'WITHSCORES')
for i = 1, #leases, 2 do
  local gateway = leases[i]
  local made_at, list = (call('GET', listing_of(gateway)) or ''):match('^(%d+) (.*)$')
  local slots = tonumber(call('HGET', key_of(gateway), counter) or 0)
  local age = made_at and math.max(0, now - made_at) or -1
  gateways[(i + 1) / 2] = { gateway, math.floor(leases[i + 1] - now), slots, age, list or '' }
end
return cmsgpack.pack({ OK, gateways })
