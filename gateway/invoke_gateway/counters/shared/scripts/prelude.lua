-- prelude: what every script begins with: the keys of one account, the store's clock, counts and leases.
--
-- A line `-- include: NAME` is replaced by the file of this name. A function costs the store 1,500 instructions each time
-- it is made, so those that few scripts need, or only rarely, are in files of their own.
--
-- KEYS[1] is `invoke-gateway:{account}`. All other keys begin with it, so one account lies on one shard.
--   :sums     hash    counter -> slots over all gateways; always the sum of the next one over all gateways
--   :of:<id>  hash    counter -> slots of one gateway
--   :leases   zset    gateway -> when its slots go back unless it says that it lives (ms)
--   :seq      hash    gateway -> `epoch:number` of the batch applied last; `<id>/reply` -> the reply to it;
--                     `<id>/run` -> the server process with which the gateway registered
--   :state    hash    run -> the server process that has this state; refill -> until when nobody is admitted (ms)
--   :recovery hash    only while no call is admitted: tag -> the run and the end that it is about; round -> how many
--                     registered meanwhile; `of/<id>` -> `round workers expected` of a gateway that registered, the round
--                     being the last one whose number it returned; `known/<id>` -> a gateway that one of them knew
--   :limits   hash    gateway -> the limits it was told, in words
--   :holders:<id>  string  `time list`: the oldest calls of one gateway, for people (ms, JSON); nothing is decided by it
--   :control  hash    revision -> `number:writer` of the last change by control operations; document -> what they have set
--   :rate:<tokens a second>:<bucket>  string  `level time` of a leaky bucket (tokens, microseconds)
-- ARGV[1] is one MessagePack array; so is each reply.
local BASE = KEYS[1]
local SUMS, LEASES, SEQ, STATE, RECOVERY, LIMITS, CONTROL = BASE .. ':sums', BASE .. ':leases', BASE .. ':seq',
  BASE .. ':state', BASE .. ':recovery', BASE .. ':limits', BASE .. ':control'
local OK, FENCED, REFILLING, ALIVE, STALE = 0, 1, 2, 3, 4
local call = redis.call

local time = call('TIME')
local now_us = time[1] * 1000000 + time[2]
local now = math.floor(now_us / 1000)

local function key_of(gateway)
  return BASE .. ':of:' .. gateway
end

-- Add to one gateway's count and to the sum, never below zero. Returns the new sum.
local function add(key, counter, slots)
  local mine = call('HINCRBY', key, counter, slots)
  if mine < 0 then
    slots = slots - mine
    mine = 0
  end
  if mine == 0 then
    call('HDEL', key, counter)
  end
  local sum = call('HINCRBY', SUMS, counter, slots)
  if sum <= 0 then
    call('HDEL', SUMS, counter)
    sum = 0
  end
  return sum
end

-- `epoch:number` of the batch of a gateway that this server process applied last; nothing where the gateway has not
-- registered with it. What another process granted may be missing here, or be granted to others meanwhile.
local function applied(gateway, run)
  local known = call('HMGET', SEQ, gateway, gateway .. '/run')
  return known[2] == run and known[1]
end

local function renew(gateway, lease, keep)
  call('ZADD', LEASES, now + lease + keep, gateway)
end

-- Milliseconds for which nobody is admitted. A server process that has not had this state before (new, emptied,
-- restarted, or a replica that took over) may lack what its gateways hold: they get a lease to say so. `confirm` of renew
-- ends it earlier.
local function refilling(run, lease)
  local state = call('HMGET', STATE, 'run', 'refill')
  if state[1] ~= run then
    call('HSET', STATE, 'run', run, 'refill', now + lease)
    return lease
  end
  return math.max(0, state[2] - now)
end
