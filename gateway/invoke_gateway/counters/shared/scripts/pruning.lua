-- pruning: forget the gateways whose lease has ended. `lease` and `keep` are variables of the script.
-- Where no gateway has renewed for half a lease, the store was away, or its clock has jumped. Then each gets a whole lease.
local ended = call('ZRANGEBYSCORE', LEASES, '-inf', now)
if #ended > 0 then
  -- include: forgetting
  local freshest = call('ZREVRANGE', LEASES, 0, 0, 'WITHSCORES')
  if freshest[2] - keep < now + lease / 2 then
    for _, other in ipairs(call('ZRANGE', LEASES, 0, -1)) do
      call('ZADD', LEASES, now + lease + keep, other)
    end
  else
    for _, other in ipairs(ended) do
      forget(other)
    end
  end
end
