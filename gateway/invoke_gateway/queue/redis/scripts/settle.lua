-- settle: what became of claimed events. ARGV: session, attempt, then one after the other
--   finish     event token
--   give_back  event token
--   postpone   event token lane due_at received_at retried head
--   rewrite    event token lane due_at received_at retried head
--   disown     number of a claim of this session: give back what was claimed by it
--   forgo      number of a batch of puts, which is not kept if it comes after this
-- Returns a letter for each: `y` done, `n` not done, for the claim is no longer that one, `g` not done, for the event is
-- gone though its claimer never lost its lease. Each may be said twice: the second time the claim is not there any more.
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

function operations.finish(event, token)
  forget_claim(event, token)
  call('XDEL', EVENTS, id_of(event))
  call('HDEL', HEADS, event)
end

function operations.give_back(event)
  give_back(event)
end

function operations.postpone(event, token, lane, due, received, retried, head)
  forget_claim(event, token)
  call('HSET', HEADS, event, head)
  enter(event, lane, due, received, retried)
end

function operations.rewrite(event, token, lane, due, received, retried, head)
  call('HDEL', HEADS, event)
  call('HSET', HEADS, event, head)
  record(event, session_of(token), string.match(token, '%d+$'), due, received, retried, lane)
end

local function disown(number)
  local claims = call('HGETALL', BASE .. ':of:' .. SESSION)
  for i = 1, #claims, 2 do
    if claims[i + 1] == number then
      give_back(claims[i])
    end
  end
end

local function forgo(batch)
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
  if name == 'disown' then
    disown(next_argument())
  elseif name == 'forgo' then
    forgo(next_argument())
  else
    local event, token = next_argument(), next_argument()
    local more = {}
    if name == 'postpone' or name == 'rewrite' then
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
