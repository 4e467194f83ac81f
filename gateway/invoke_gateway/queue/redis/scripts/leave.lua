-- leave: a gateway ends: what it has claimed waits again. ARGV: session, how many claims to give back at most.
-- Returns whether there are more.
local left = tonumber(ARGV[2])
local claimed = call('HKEYS', BASE .. ':of:' .. SESSION)
for i = 1, math.min(#claimed, left) do
  give_back(claimed[i])
end
publish()
if #claimed > left then
  return 1
end
call('ZREM', LEASES, SESSION)
call('HDEL', TURNS, SESSION, SESSION .. '/put', SESSION .. '/lease')
return 0
