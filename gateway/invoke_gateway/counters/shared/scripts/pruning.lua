-- pruning: forget the gateways whose lease has ended; `lease` and `keep` are the script's. But where no gateway was heard
-- for half a lease, it is the store that was away (or its clock that jumped), not they: then each gets a whole lease.
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
