-- renew: a gateway lives. Its lease never comes back once it was pruned: then it must register.
--
-- Request: gateway, epoch, number of the last batch whose reply it has, lease ms, keep ms, run, its limits in words.
-- Reply: status (FENCED: the store does not know all that the gateway was answered), ms for which nobody is admitted, how
-- many gateways there are, how many of them come before this one, another gateway with other limits (or nothing), these.
local gateway, epoch, number, lease, keep, run, limits = unpack(cmsgpack.unpack(ARGV[1]))

prune(lease, keep)
local at = applied(gateway, run)
local known_epoch, known_number = (at or ''):match('^(%d+):(%d+)$')
if tonumber(known_epoch) ~= epoch or tonumber(known_number) < number then
  return cmsgpack.pack({ FENCED, 0, 0, 0, '', '' })
end
renew(gateway, lease, keep)

local gateways = call('ZRANGE', LEASES, 0, -1)
local before = 0
for _, other in ipairs(gateways) do
  if other < gateway then
    before = before + 1
  end
end
call('HSET', LIMITS, gateway, limits)
local differing, differing_limits = '', ''
local told = call('HGETALL', LIMITS)
for i = 1, #told, 2 do
  if told[i + 1] ~= limits and (differing == '' or told[i] < differing) then
    differing, differing_limits = told[i], told[i + 1]
  end
end
return cmsgpack.pack({ OK, refilling(run, lease), #gateways, before, differing, differing_limits })
