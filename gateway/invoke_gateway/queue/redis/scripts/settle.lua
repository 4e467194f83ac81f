-- settle: apply changes of claimed events. ARGV: session, attempt, then one after the other
--   ack             event token
--   release         event token
--   requeue         event token lane due_at received_at retried head
--   update          event token lane due_at received_at retried head
--   release_claims  number of a claim of this session: releases what was claimed by it
--   cancel_enqueue  number of a batch of new events, which is not stored if it arrives later
-- Returns a letter for each: `y` done; `n` not done, since the claim is another one; `g` not done, since the event is gone
-- though its session never lost its lease. Each may be repeated: the second time the claim is gone.
local replies = {}
local at = 3

local function next_argument()
  at = at + 1
  return ARGV[at - 1]
end

local function refuse(event, token, claimed)
  if not claimed and is_leased(session_of(token)) and #call('XRANGE', EVENTS, id_of(event), id_of(event)) == 0 then
    return 'g'
  end
  return 'n'
end

local operations = {}

function operations.ack(event, token)
  forget_claim(event, token)
  call('XDEL', EVENTS, id_of(event))
  call('HDEL', HEADS, event)
end

function operations.release(event)
  release(event)
end

function operations.requeue(event, token, lane, due, received, retried, head)
  forget_claim(event, token)
  call('HSET', HEADS, event, head)
  enter(event, lane, due, received, retried)
end

function operations.update(event, token, lane, due, received, retried, head)
  call('HDEL', HEADS, event)
  call('HSET', HEADS, event, head)
  record(event, session_of(token), string.match(token, '%d+$'), due, received, retried, lane)
end

local function release_claims(number)
  local claims = call('HGETALL', BASE .. ':of:' .. SESSION)
  for i = 1, #claims, 2 do
    if claims[i + 1] == number then
      release(claims[i])
    end
  end
end

local function cancel_enqueue(batch)
  local last = call('HGET', TURNS, SESSION .. '/put')
  if is_leased(SESSION) and (not last or tonumber(string.match(last, '^%d+')) < tonumber(batch)) then
    call('HDEL', TURNS, SESSION .. '/put')
    call('HSET', TURNS, SESSION .. '/put', batch .. ' 0 0')
  end
end

if is_leased(SESSION) and not takes_turn(ARGV[2]) then
  return 'LATE'
end
while at <= #ARGV do
  local name = next_argument()
  local letter = 'y'
  if name == 'release_claims' then
    release_claims(next_argument())
  elseif name == 'cancel_enqueue' then
    cancel_enqueue(next_argument())
  else
    local event, token = next_argument(), next_argument()
    local more = {}
    if name == 'requeue' or name == 'update' then
      for i = 1, 5 do
        more[i] = next_argument()
      end
    end
    local claimed = call('HGET', CLAIMS, event)
    if claimed and parse(claimed) == token then
      operations[name](event, token, unpack(more))
    else
      letter = refuse(event, token, claimed)
    end
  end
  replies[#replies + 1] = letter
end
publish()
return table.concat(replies)
