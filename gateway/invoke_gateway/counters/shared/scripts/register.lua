-- register: make a gateway's counts exactly what it says it holds, above ceilings too (those calls run), and begin an epoch.
--
-- Request: gateway, epoch, lease ms, keep ms, run, held {counter: slots}, workers of its group, gateways (groups) that are
-- expected (0: not known), the gateways that it last knew, revision and document of the control state as it knows it.
-- Reply: status (FENCED: a later epoch of it was registered before), the round of the recovery or nothing, ms for which
-- nobody is admitted.
local gateway, epoch, lease, keep, run, held, workers, expected, known, revision, document =
  unpack(cmsgpack.unpack(ARGV[1]))

-- include: recovery
-- include: forgetting
-- What the gateway has reported counts towards the end of the recovery. Returns the round that begins with it.
local function report()
  local tag = recovery_tag()
  if call('HGET', RECOVERY, 'tag') ~= tag then
    call('DEL', RECOVERY)
    call('HSET', RECOVERY, 'tag', tag)
    for _, other in ipairs(call('ZRANGE', LEASES, 0, -1)) do
      call('HSET', RECOVERY, 'known/' .. other, 1)
    end
  end
  call('HSET', RECOVERY, 'of/' .. gateway, string.format('0 %d %d', workers, expected))
  for _, other in ipairs(known) do
    call('HSET', RECOVERY, 'known/' .. other, 1)
  end
  return call('HINCRBY', RECOVERY, 'round', 1)
end

-- include: pruning
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
local left = refilling(run, lease)
restore_control(revision, document, left)
return cmsgpack.pack({ OK, left > 0 and { report() } or {}, left })
