-- renew: a gateway lives. Its lease never comes back once it was pruned: then it must register.
--
-- Request: gateway, epoch, number of the last batch whose reply it has, lease ms, keep ms, run, its limits in words, the
-- round of the recovery of which it was told last (0: none).
-- Reply: status (FENCED: the store does not know all that the gateway was answered), ms for which nobody is admitted, the
-- gateways there are, how many of them come before this one, another gateway with other limits (or nothing), these, the
-- round of the recovery (0: none).
--
-- A recovery ends before its lease has ended once nothing can be missing: every gateway with a lease, and every one that a
-- gateway knew before, has reported what it runs; of a group all its workers have; as many gateways as are expected were
-- alive at the same time. The last is sure when each of them has returned the number of the round: a reply with it was
-- made after the last of them had registered. What one that is dead sent before its end returns no later round.
local gateway, epoch, number, lease, keep, run, limits, round = unpack(cmsgpack.unpack(ARGV[1]))

-- include: recovery
-- include: pruning
local at = applied(gateway, run)
local known_epoch, known_number = (at or ''):match('^(%d+):(%d+)$')
if tonumber(known_epoch) ~= epoch or tonumber(known_number) < number then
  return cmsgpack.pack({ FENCED, 0, {}, 0, '', '', 0 })
end
renew(gateway, lease, keep)

-- Reads which gateways are awaited and what was reported: of/<id> of each, or nothing.
local function find_awaited()
  local awaited, reports = {}, {}
  for _, id in ipairs(call('ZRANGE', LEASES, 0, -1)) do
    awaited[id] = true
  end
  local fields = call('HGETALL', RECOVERY)
  for i = 1, #fields, 2 do
    local kind, id = fields[i]:match('^(%a+)/(.*)$')
    if kind == 'known' then
      awaited[id] = true
    elseif kind == 'of' then
      reports[id] = fields[i + 1]
    end
  end
  return awaited, reports
end

local function is_complete(current)
  local awaited, reports = find_awaited()
  local expected, missing, groups = 0, {}, 0
  for id in pairs(awaited) do
    local returned, workers, expects = (reports[id] or ''):match('^(%d+) (%d+) (%d+)$')
    if returned ~= current or expects == '0' then
      return false
    end
    expected = math.max(expected, tonumber(expects))
    local group = id:match('^[^.]*')
    if not missing[group] then
      missing[group] = tonumber(workers)
      groups = groups + 1
    end
    missing[group] = missing[group] - 1
  end
  for _, workers in pairs(missing) do
    if workers > 0 then
      return false
    end
  end
  return groups >= expected
end

-- Notes that the gateway was alive after the last one registered. Returns the ms that are left, and the round.
local function confirm(left)
  local report = call('HGET', RECOVERY, 'of/' .. gateway)
  if not report or call('HGET', RECOVERY, 'tag') ~= recovery_tag() then
    return left, 0
  end
  local current = call('HGET', RECOVERY, 'round')
  if tonumber(current) == round then
    call('HSET', RECOVERY, 'of/' .. gateway, current .. report:match(' .*$'))
    if is_complete(current) then
      call('HSET', STATE, 'refill', now)
      call('DEL', RECOVERY)
      return 0, 0
    end
  end
  return left, tonumber(current)
end

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
local left, current = refilling(run, lease), 0
if left > 0 then
  left, current = confirm(left)
end
return cmsgpack.pack({ OK, left, gateways, before, differing, differing_limits, current })
