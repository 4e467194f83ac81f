-- register: make a gateway's counts exactly what it says it holds, above ceilings too (those calls run), and begin an epoch.
--
-- Request: gateway, epoch, lease ms, keep ms, run, held {counter: slots}.
-- Reply: status (FENCED: a later epoch of it was registered before), nothing, ms for which nobody is admitted.
local gateway, epoch, lease, keep, run, held = unpack(cmsgpack.unpack(ARGV[1]))

prune(lease, keep)
local at = call('HGET', SEQ, gateway)
if at and tonumber(at:match('^%d+')) >= epoch then
  return cmsgpack.pack({ FENCED, {}, 0 })
end
forget(gateway)
local mine = key_of(gateway)
for counter, slots in pairs(held) do
  add(mine, counter, slots)
end
renew(gateway, lease, keep)
call('HSET', SEQ, gateway, epoch .. ':0', gateway .. '/run', run)
return cmsgpack.pack({ OK, {}, refilling(run, lease) })
