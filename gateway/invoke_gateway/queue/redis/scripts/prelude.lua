-- prelude: the beginning of every script: the keys, the store's clock, and how an event waits, is claimed, and waits again.
--
-- KEYS[1] is `{prefix}`. All other keys begin with it, so that all of them lie on one shard.
--   :events         stream  every event, in the order of arrival: `h` its first head, `b` its body. Its id is `number-0`
--   :heads          hash    event -> its present head, where it was changed
--   :new:<lane>     zset    unclaimed events that were never changed: due_at, which is received_at too
--   :due:<lane>     zset    the other unclaimed events: due_at
--   :age:<lane>     zset    the same ones: received_at
--   :retried:<lane> set     unclaimed events that have run before
--   :lanes          set     every lane with unclaimed events, and some empty ones
--   :claims         hash    event -> `<session>:<number> <due_at> <received_at> <retried, 0 or 1> <lane>`
--   :of:<session>   hash    the events that one session has claimed -> the number of the claim
--   :leases         zset    session -> when its claims may be taken over (ms)
--   :turns          hash    session -> the last attempt of its work; `<session>/put` -> `batch first kept` of the last puts;
--                           `<session>/lease` -> how long its leases last (ms)
--   :news           stream  `s` session, `n` events, lane `l`, first due at `d`; only the last notifications
--   :state          hash    `born`: the store's id, until it is emptied; `run`: the server process that gave the last
--                           numbers; `news`: the number of the last notification
--   :seq            string  the number of the last event
-- An event is its number with sixteen digits, so that events due at one time are ordered by arrival. Times are passed on
-- as their text: a number would lose digits in Lua.
--
-- No event is in two places or in none: every change of one is one script, and the checks come before the first write. A
-- full store (maxmemory) refuses a script only at its first write, and only if that may need memory. So `put` begins with
-- a write that is refused, and all others with one that is not: a full store can be emptied by working.
local BASE = KEYS[1]
local EVENTS, HEADS, LANES, CLAIMS, LEASES = BASE .. ':events', BASE .. ':heads', BASE .. ':lanes', BASE .. ':claims', BASE .. ':leases'
local TURNS, NEWS, STATE, SEQ = BASE .. ':turns', BASE .. ':news', BASE .. ':state', BASE .. ':seq'
local NEWS_KEPT = 10000
local SESSION = ARGV[1]
local call = redis.call

local function is_leased(session)
  return call('ZSCORE', LEASES, session) ~= false
end

-- Returns whether an attempt is the latest one so far. A request that was given up may arrive after a later one.
local function takes_turn(attempt)
  if tonumber(call('HGET', TURNS, SESSION) or 0) > tonumber(attempt) then
    return false
  end
  call('HDEL', TURNS, SESSION)
  call('HSET', TURNS, SESSION, attempt)
  return true
end

local function id_of(event)
  return string.format('%.0f-0', tonumber(event))
end

-- Returns the head and the body of an event; nothing where there is no such event.
local function read(event)
  local found = call('XRANGE', EVENTS, id_of(event), id_of(event))[1]
  if found then
    return call('HGET', HEADS, event) or found[2][2], found[2][4]
  end
end

-- Lanes that received events: lane -> { how many, the earliest due_at }.
local arrivals = {}

local function note(lane, due)
  local arrived = arrivals[lane]
  if not arrived then
    arrivals[lane] = { 1, due }
    return
  end
  arrived[1] = arrived[1] + 1
  if tonumber(due) < tonumber(arrived[2]) then
    arrived[2] = due
  end
end

-- Notifies the other gateways, if there are any.
local function publish()
  local others = call('ZCARD', LEASES) > 1
  for lane, arrived in pairs(arrivals) do
    call('SADD', LANES, lane)
    if others then
      local number = call('HINCRBY', STATE, 'news', 1)
      call('XADD', NEWS, 'MAXLEN', '~', NEWS_KEPT, number .. '-0', 's', SESSION, 'l', lane, 'n', arrived[1], 'd', arrived[2])
    end
  end
end

local function enter(event, lane, due, received, retried)
  if due == received and retried == '0' then
    call('ZADD', BASE .. ':new:' .. lane, due, event)
  else
    call('ZADD', BASE .. ':due:' .. lane, due, event)
    call('ZADD', BASE .. ':age:' .. lane, received, event)
    if retried == '1' then
      call('SADD', BASE .. ':retried:' .. lane, event)
    end
  end
  note(lane, due)
end

-- Removes an event from its lane. Returns due_at, received_at, and whether it was retried; nothing where it is not there.
local function leave(event, lane)
  local due = call('ZSCORE', BASE .. ':new:' .. lane, event)
  if due then
    call('ZREM', BASE .. ':new:' .. lane, event)
    return due, due, '0'
  end
  due = call('ZSCORE', BASE .. ':due:' .. lane, event)
  if due then
    local received = call('ZSCORE', BASE .. ':age:' .. lane, event)
    call('ZREM', BASE .. ':due:' .. lane, event)
    call('ZREM', BASE .. ':age:' .. lane, event)
    return due, received, tostring(call('SREM', BASE .. ':retried:' .. lane, event))
  end
end

local function record(event, session, number, due, received, retried, lane)
  call('HSET', CLAIMS, event, session .. ':' .. number .. ' ' .. due .. ' ' .. received .. ' ' .. retried .. ' ' .. lane)
end

local function claim(event, number, due, received, retried, lane)
  record(event, SESSION, number, due, received, retried, lane)
  call('HSET', BASE .. ':of:' .. SESSION, event, number)
end

-- Returns the parts of a claim: its token, due_at, received_at, whether the event was retried, its lane.
local function parse(claimed)
  return string.match(claimed, '^(%S+) (%S+) (%S+) (%S) (.*)$')
end

local function session_of(token)
  return string.match(token, '^(.*):')
end

local function forget_claim(event, token)
  call('HDEL', CLAIMS, event)
  call('HDEL', BASE .. ':of:' .. session_of(token), event)
end

-- Releases a claimed event, unchanged.
local function release(event)
  local claimed = call('HGET', CLAIMS, event)
  if claimed then
    local token, due, received, retried, lane = parse(claimed)
    forget_claim(event, token)
    enter(event, lane, due, received, retried)
  end
end
