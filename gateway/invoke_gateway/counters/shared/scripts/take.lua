-- take: apply one batch of a gateway: first what changed in its counts, then each take: a whole lane and all rates, or nothing.
--
-- Request: gateway, epoch, number, lease ms, keep ms, run, changes {counter: slots}, shapes, takes, control revision.
--   A shape is what takes have in common: lanes [[counter, ceiling (-1: none), ...], ...], rates [bucket, tokens a
--   second, ...], and perhaps the rates of each lane; an empty name is the take's own counter. A lane whose rates have no
--   token is skipped. A scaling rate has [tokens a second, most tokens, counter] instead of tokens a second: a take has a
--   token of it only where the counter rises above its level of this minute and the one before.
--   Takes: own counter, index of the shape (from 0), ...
-- Reply: status, answers, ms for which nobody is admitted. An answer is the index of the lane taken, or what was full:
--   [0, index of the claim in the last lane, slots in use], [1, index of the rate] or [2, index of the last lane's rate].
-- STALE: the takes were planned by another revision of the control state than the store has. The changes are applied, and
--   nobody is admitted.
local gateway, epoch, number, lease, keep, run, changes, shapes, takes, revision = unpack(cmsgpack.unpack(ARGV[1]))

prune(lease, keep)
local at = applied(gateway, run)
if at == epoch .. ':' .. number then -- applied, and the reply was lost
  renew(gateway, lease, keep)
  return call('HGET', SEQ, gateway .. '/reply')
end
if at ~= epoch .. ':' .. (number - 1) then
  return cmsgpack.pack({ FENCED, {}, 0 })
end
renew(gateway, lease, keep)

-- `changes` gains what is taken, and is written once at the end: under load as many slots are released as are taken.
local sums = {}
local function sum_of(counter)
  local sum = sums[counter]
  if not sum then
    sum = math.max(0, (tonumber(call('HGET', SUMS, counter)) or 0) + (changes[counter] or 0))
    sums[counter] = sum
  end
  return sum
end

local function find_full(lane, own)
  for i = 1, #lane, 2 do
    local ceiling = lane[i + 1]
    if ceiling >= 0 then
      local sum = sum_of(lane[i] == '' and own or lane[i])
      if sum >= ceiling then
        return { 0, (i - 1) / 2, sum }
      end
    end
  end
end

local buckets = {}
local function bucket_of(name, per_second)
  local key = BASE .. ':rate:' .. per_second .. ':' .. name
  local bucket = buckets[key]
  if not bucket then
    bucket = { per_second = per_second, burst = per_second > 0 and math.max(1, per_second) or 0, level = 0 }
    local kept = call('GET', key)
    if kept then
      local level, filled_at = kept:match('^(%S+) (%S+)$')
      bucket.level = math.max(0, level - math.max(0, now_us - filled_at) / 1000000 * per_second)
    end
    buckets[key] = bucket
  end
  return bucket
end

local WARM_SECONDS = 60
local growths = {}
local function growth_of(name, per_second, most, counter)
  local key = BASE .. ':growth:' .. per_second .. ':' .. name
  local growth = growths[key]
  if not growth then
    local window = math.floor(now_us / 1000000 / WARM_SECONDS)
    growth = { per_second = per_second, most = most, counter = counter, level = 0, window = window, high = 0, before = 0 }
    local kept = call('GET', key)
    if kept then
      local level, filled_at, at, high, before = kept:match('^(%S+) (%S+) (%S+) (%S+) (%S+)$')
      growth.level = math.max(0, level - math.max(0, now_us - filled_at) / 1000000 * per_second)
      if tonumber(at) >= window then -- a clock that was set back counts on
        growth.window, growth.high, growth.before = tonumber(at), tonumber(high), tonumber(before)
      elseif tonumber(at) == window - 1 then
        growth.before = tonumber(high)
      end
    end
    growths[key] = growth
  end
  return growth
end

local function grows(growth)
  return sum_of(growth.counter) + 1 > math.max(growth.high, growth.before)
end

local function find_empty(rates, own, kind)
  for i = 1, #rates, 2 do
    local name, rate = rates[i] == '' and own or rates[i], rates[i + 1]
    if type(rate) == 'table' then
      local growth = growth_of(name, rate[1], rate[2], rate[3])
      if grows(growth) and growth.level + 1 > growth.most then
        return { kind, (i - 1) / 2 }
      end
    else
      local bucket = bucket_of(name, rate)
      if bucket.level + 1 > bucket.burst then
        return { kind, (i - 1) / 2 }
      end
    end
  end
end

local function take_tokens(rates, own)
  for i = 1, #rates, 2 do
    local name, rate = rates[i] == '' and own or rates[i], rates[i + 1]
    if type(rate) == 'table' then
      local growth = growth_of(name, rate[1], rate[2], rate[3])
      if grows(growth) then
        growth.level = growth.level + 1
      end
      growth.high = math.max(growth.high, sum_of(growth.counter) + 1)
      growth.is_taken = true
    else
      local bucket = bucket_of(name, rate)
      bucket.level = bucket.level + 1
      bucket.is_taken = true
    end
  end
end

local NO_RATES = {}
local function take(own, lanes, rates, lane_rates)
  local full
  for index, lane in ipairs(lanes) do
    local own_rates = lane_rates and lane_rates[index] or NO_RATES
    full = find_full(lane, own) or find_empty(own_rates, own, 2)
    if not full then
      local empty = find_empty(rates, own, 1)
      if empty then
        return empty
      end
      take_tokens(own_rates, own)
      take_tokens(rates, own)
      for i = 1, #lane, 2 do
        local counter = lane[i] == '' and own or lane[i]
        if sums[counter] then
          sums[counter] = sums[counter] + 1
        end
        changes[counter] = (changes[counter] or 0) + 1
      end
      return index - 1
    end
  end
  return full
end

local answers = {}
local left = refilling(run, lease)
local status = left == 0 and OK or REFILLING
if status == OK and #takes > 0 and (call('HGET', CONTROL, 'revision') or '') ~= (revision or '') then
  status = STALE
end
if status == OK then
  for i = 1, #takes, 2 do
    local shape = shapes[takes[i + 1] + 1]
    answers[(i + 1) / 2] = take(takes[i], shape[1], shape[2], shape[3])
  end
end
local mine = key_of(gateway)
for counter, slots in pairs(changes) do
  if slots ~= 0 then
    add(mine, counter, slots)
  end
end
for key, bucket in pairs(buckets) do
  if bucket.is_taken then -- gone by itself once it has drained
    local drained_ms = math.ceil(bucket.level / bucket.per_second * 1000) + 1
    call('SET', key, string.format('%.17g %.0f', bucket.level, now_us), 'PX', drained_ms)
  end
end

for key, growth in pairs(growths) do
  if growth.is_taken then
    local kept_ms = math.max(2 * WARM_SECONDS * 1000, math.ceil(growth.level / growth.per_second * 1000) + 1)
    local text = string.format(
      '%.17g %.0f %.0f %.0f %.0f', growth.level, now_us, growth.window, growth.high, growth.before
    )
    call('SET', key, text, 'PX', kept_ms)
  end
end

local reply = cmsgpack.pack({ status, answers, left })
call('HSET', SEQ, gateway, epoch .. ':' .. number, gateway .. '/reply', reply)
return reply
