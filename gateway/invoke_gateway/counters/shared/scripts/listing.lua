-- listing: the key of a gateway's oldest calls.
local function listing_of(gateway)
  return BASE .. ':holders:' .. gateway
end
