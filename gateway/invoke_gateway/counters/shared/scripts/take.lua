-- take: apply one batch of a gateway: first what changed in its counts, then each take: a whole lane and all rates, or nothing.
--
-- Request: gateway, epoch, number, lease ms, keep ms, run, changes {counter: slots}, shapes, takes, control revision.
--   A shape is what takes have in common: lanes [[counter, ceiling (-1: none), ...], ...], rates [bucket, tokens a
--   second, ...], and perhaps the rates of each lane; an empty name is the take's own counter. A lane whose rates have no
--   token is skipped. A scaling rate has [tokens a second, most tokens, counter] instead of tokens a second: a take has a
--   token of it only where the counter rises above its level of this minute and the one before.
--   Takes: own counter, index of the shape (from 0), number of takes that are alike, ...
-- Reply: status, answers, ms for which no call is admitted. Each take has an answer. It is the index of the lane that was
--   taken, or what was full: [0, index of the claim in the last lane, slots in use], [1, index of the rate], or [2, index of
--   the last lane's rate].
-- STALE: the takes were planned by another revision of the control state than the store has. The changes are applied, and
--   no call is admitted.
local gateway, epoch, number, lease, keep, run, changes, shapes, takes, revision = unpack(cmsgpack.unpack(ARGV[1]))

-- include: pruning
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

-- Returns how many of `count` takes a lane has slots for; where it has none, 0 and what is full.
local function room_in(lane, own, count)
  for i = 1, #lane, 2 do
    local ceiling = lane[i + 1]
    if ceiling >= 0 then
      local sum = sum_of(lane[i] == '' and own or lane[i])
      if sum >= ceiling then
        return 0, { 0, (i - 1) / 2, sum }
      end
      count = math.min(count, ceiling - sum)
    end
  end
  return count
end

local WARM_SECONDS = 60
local buckets, opened = {}, {}

-- Returns the bucket of a rate: `level` tokens of `most` are taken. That of a scaling rate also has its counter, and the
-- highest level of that in this minute and the one before.
local function bucket_of(name, rate)
  local scaling = type(rate) == 'table' and rate
  local kind = scaling and ':growth:' .. rate[1] or rate
  local named = buckets[kind]
  if not named then
    named = {}
    buckets[kind] = named
  end
  local bucket = named[name]
  if bucket then
    return bucket
  end
  local per_second = scaling and rate[1] or rate
  bucket = { level = 0, most = per_second > 0 and math.max(1, per_second) or 0, per_second = per_second }
  bucket.key = BASE .. (scaling and kind or ':rate:' .. rate) .. ':' .. name
  local kept = call('GET', bucket.key)
  local level, filled_at, at, high, before = (kept or ''):match('^(%S+) (%S+) ?(%S*) ?(%S*) ?(%S*)$')
  if kept then
    bucket.level = math.max(0, level - math.max(0, now_us - filled_at) / 1000000 * per_second)
  end
  if scaling then
    local window = math.floor(now_us / 1000000 / WARM_SECONDS)
    bucket.most, bucket.counter, bucket.window, bucket.high, bucket.before = rate[2], rate[3], window, 0, 0
    if kept and tonumber(at) >= window then -- a clock that was set back counts on
      bucket.window, bucket.high, bucket.before = tonumber(at), tonumber(high), tonumber(before)
    elseif kept and tonumber(at) == window - 1 then
      bucket.before = tonumber(high)
    end
  end
  named[name] = bucket
  opened[#opened + 1] = bucket
  return bucket
end

-- Returns how many takes need no token of a scaling rate: they do not raise its counter above its highest level.
local function warm_in(bucket)
  return math.max(0, math.max(bucket.high, bucket.before) - sum_of(bucket.counter))
end

-- Returns how many of `count` takes these rates have tokens for; where one has none, 0 and that.
local function tokens_in(rates, own, count, kind)
  for i = 1, #rates, 2 do
    local bucket = bucket_of(rates[i] == '' and own or rates[i], rates[i + 1])
    local warm = bucket.counter and warm_in(bucket) or 0
    if bucket.level + 1 <= bucket.most then
      count = math.min(count, warm + math.max(1, math.floor(bucket.most - bucket.level)))
    elseif warm > 0 then
      count = math.min(count, warm)
    else
      return 0, { kind, (i - 1) / 2 }
    end
  end
  return count
end

local function take_tokens(rates, own, count)
  for i = 1, #rates, 2 do
    local bucket = bucket_of(rates[i] == '' and own or rates[i], rates[i + 1])
    bucket.is_taken = true
    if bucket.counter then
      local warm = warm_in(bucket)
      bucket.high = math.max(bucket.high, sum_of(bucket.counter) + count)
      bucket.level = bucket.level + math.max(0, count - warm)
    else
      bucket.level = bucket.level + count
    end
  end
end

local NO_RATES = {}
local left = refilling(run, lease)
local status = left == 0 and OK or REFILLING
if status == OK and #takes > 0 and (call('HGET', CONTROL, 'revision') or '') ~= (revision or '') then
  status = STALE
end
local answers, answered = {}, 0
for i = 1, status == OK and #takes or 0, 3 do
  local own, shape, count = takes[i], shapes[takes[i + 1] + 1], takes[i + 2]
  local lanes, rates, lane_rates = shape[1], shape[2], shape[3]
  local index = 1
  while count > 0 do
    local lane, own_rates = lanes[index], lane_rates and lane_rates[index] or NO_RATES
    local fit, full = room_in(lane, own, count)
    if not full then
      fit, full = tokens_in(own_rates, own, fit, 2)
    end
    if full and index < #lanes then
      index = index + 1 -- for the others, too: what is full stays full in this batch
    else
      if not full then
        fit, full = tokens_in(rates, own, fit, 1)
      end
      if full then
        fit = count -- all that are left are refused by the same
      else
        take_tokens(own_rates, own, fit)
        take_tokens(rates, own, fit)
        for j = 1, #lane, 2 do
          local counter = lane[j] == '' and own or lane[j]
          if sums[counter] then
            sums[counter] = sums[counter] + fit
          end
          changes[counter] = (changes[counter] or 0) + fit
        end
      end
      for _ = 1, fit do
        answered = answered + 1
        answers[answered] = full or index - 1
      end
      count = count - fit
    end
  end
end
local mine = key_of(gateway)
for counter, slots in pairs(changes) do
  if slots ~= 0 then
    add(mine, counter, slots)
  end
end
for _, bucket in ipairs(opened) do
  if bucket.is_taken then -- gone by itself once it has drained
    local kept_ms = math.ceil(bucket.level / bucket.per_second * 1000) + 1
    local text = string.format('%.17g %.0f', bucket.level, now_us)
    if bucket.counter then
      kept_ms = math.max(2 * WARM_SECONDS * 1000, kept_ms)
      text = text .. string.format(' %.0f %.0f %.0f', bucket.window, bucket.high, bucket.before)
    end
    call('SET', bucket.key, text, 'PX', kept_ms)
  end
end

local reply = cmsgpack.pack({ status, answers, left })
call('HSET', SEQ, gateway, epoch .. ':' .. number, gateway .. '/reply', reply)
return reply
