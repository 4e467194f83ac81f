-- claim_one: claim one event, due or not. ARGV: session, attempt, number of the claim, event, its lane.
-- Returns its head and body; nothing where it is not unclaimed in that lane; or FENCED, or LATE.
local EVENT = ARGV[4]

if not is_leased(SESSION) then
  return 'FENCED'
elseif not takes_turn(ARGV[2]) then
  return 'LATE'
end
local head, body = read(EVENT)
if not head then
  return {}
end
local due, received, retried = leave(EVENT, ARGV[5])
if not due then
  return {}
end
claim(EVENT, ARGV[3], due, received, retried, ARGV[5])
return { head, body }
