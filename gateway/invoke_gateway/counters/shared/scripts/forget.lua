-- forget: give back everything that a gateway holds: it has stopped, or somebody knows that it is dead.
--
-- Request: gateway, and who asks about another one: counter, lease ms, keep ms. With a lease above 0 a gateway that was
-- heard within half of it is left alone. Reply: status, slots of the counter that were given back.
-- A gateway that lives all the same is fenced by it, and registers again.
local gateway, counter, lease, keep = unpack(cmsgpack.unpack(ARGV[1]))

-- include: forgetting
local ends = call('ZSCORE', LEASES, gateway)
if lease > 0 and ends and ends - keep > now + lease / 2 then
  return cmsgpack.pack({ ALIVE, 0 })
end
local slots = tonumber(call('HGET', key_of(gateway), counter) or 0)
forget(gateway)
call('HDEL', RECOVERY, 'known/' .. gateway) -- a lease alone, which may be an old copy, ends no wait for it
return cmsgpack.pack({ OK, slots })
