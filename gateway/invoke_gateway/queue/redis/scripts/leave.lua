-- leave: release the claims of a gateway that stops. ARGV: session, the most claims to release.
-- Returns whether there are more.
local left = tonumber(ARGV[2])
local claimed = call('HKEYS', BASE .. ':of:' .. SESSION)
for i = 1, math.min(#claimed, left) do
  release(claimed[i])
end
publish()
if #claimed > left then
  return 1
end
call('ZREM', LEASES, SESSION)
call('HDEL', TURNS, SESSION, SESSION .. '/put', SESSION .. '/lease')
return 0
